"""Dead letters: messages of studies that failed through our fault, and queuing those anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from admin_cli.console import CliError
from admin_cli.queue.letters import LetterBox, of_each_study
from admin_cli.queue.redriving import Redrive
from admin_cli.stage import open_stage
from chalicelib import aws

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

    from admin_cli.queue.letters import Letter
    from admin_cli.queue.redriving import Redriven
    from admin_cli.stage import Stage


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The dead letters of one stage. Every method may raise CliError and StorageUnavailable."""

    stage: Stage
    sqs: SQSClient
    s3: S3Client

    def letters(self) -> tuple[Letter, ...]:
        """Return the letters, one for each study, the oldest first."""
        with self._box.held() as held:
            return tuple(one.letter for one in of_each_study(held))

    def redrive(self, study_id: str | None) -> tuple[Redriven, ...]:
        """Queue one study anew, or for None all of them. Raises CliError for one without letter.

        A failed study is final: what is queued is a new one from the same bytes. Its letter is
        removed after that, so a run that was killed is finished by the next, with the same study.
        """
        redrive = Redrive(self.stage, self.sqs, self.s3)
        with self._box.held() as held:
            wanted = [one for one in held if study_id in {None, one.letter.study}]
            if study_id is not None and not wanted:
                raise CliError(f"there is no dead letter of study {study_id}")
            done = []
            for one in of_each_study(wanted):
                result, finished = redrive.study_of(one)
                done.append(result)
                if finished:
                    same = [o for o in held if o.letter.study == one.letter.study]
                    for letter in [one] if not one.letter.study else same:
                        self._box.remove(letter)
            return tuple(done)

    @property
    def _box(self) -> LetterBox:
        return LetterBox(self.stage, self.sqs)


def open_dead_letters(stage: str) -> DeadLetters:
    """Return the dead letters of a deployed stage. Raises CliError as `open_stage` does."""
    return DeadLetters(open_stage(stage), aws.sqs(), aws.s3())
