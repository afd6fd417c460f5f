"""Reads the queue of dead letters: which studies they are of, and how those ended."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from pydantic import AwareDatetime, ValidationError

from chalicelib.domain import Message, Value
from chalicelib.tenants.jobs import DynamoJobStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_sqs import SQSClient

    from admin_cli.stage import Stage
    from chalicelib.domain import Ended

# So long a message that was read here is hidden from others; it is shown again before that.
_HIDDEN = 300


class Letter(Value):
    """One dead letter. `study` and `client` are empty for a message that nobody can read."""

    message_id: str
    study: str = ""
    client: str = ""
    attempts: int = 0
    at: AwareDatetime | None = None
    why: str


@dataclass(frozen=True, slots=True)
class Held:
    """A letter, the message that it was read from, and how its study ended."""

    letter: Letter
    receipt: str
    ended: Ended | None


@dataclass(frozen=True, slots=True)
class LetterBox:
    """The queue of dead letters of one stage. Every method may raise StorageUnavailable."""

    stage: Stage
    sqs: SQSClient

    @contextmanager
    def held(self) -> Iterator[list[Held]]:
        """Read all letters, and show those that are left to others again afterwards."""
        url, held = self.stage.foundation.DeadLetterQueueUrl, list[Held]()
        try:
            while True:
                answer = self.sqs.receive_message(
                    QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=_HIDDEN
                )
                found = answer.get("Messages", [])
                if not found:
                    break
                held += [
                    self._read(
                        str(one.get("MessageId")), str(one.get("Body")), str(one["ReceiptHandle"])
                    )
                    for one in found
                ]
            yield held
        finally:
            for one in held:
                try:
                    self.sqs.change_message_visibility(
                        QueueUrl=url, ReceiptHandle=one.receipt, VisibilityTimeout=0
                    )
                except ClientError:
                    continue  # it was removed

    def _read(self, message_id: str, body: str, receipt: str) -> Held:
        try:
            message = Message.model_validate_json(body, extra="ignore")
        except ValidationError:
            letter = Letter(message_id=message_id, why="the message cannot be read")
            return Held(letter, receipt, None)
        jobs = DynamoJobStore(self.stage.table, self.stage.clock)
        ended = jobs.ended(message.client_id, message.study_id)
        letter = Letter(
            message_id=message_id,
            study=message.study_id,
            client=message.client_id,
            attempts=ended.attempts if ended else 0,
            at=ended.study.completed_at if ended else None,
            why=_why(ended),
        )
        return Held(letter, receipt, ended)

    def remove(self, held: Held) -> None:
        """Take a letter that is held out of the queue."""
        url = self.stage.foundation.DeadLetterQueueUrl
        self.sqs.delete_message(QueueUrl=url, ReceiptHandle=held.receipt)


def of_each_study(held: list[Held]) -> list[Held]:
    """Keep one letter of each study: a message that was sent again may have died as well."""
    kept = {one.letter.study or one.letter.message_id: one for one in held}
    return sorted(kept.values(), key=lambda one: one.letter.study)


def _why(ended: Ended | None) -> str:
    if ended is None:
        return "its study is gone, or still under way"
    if ended.study.error is None:
        return f"the study is {ended.study.status} since"
    return str(ended.study.error["code"])
