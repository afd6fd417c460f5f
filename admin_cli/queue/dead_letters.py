"""Dead letters: messages of studies that failed through our fault, and queuing those anew."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from pydantic import AwareDatetime, ValidationError

from admin_cli.console import CliError
from admin_cli.stage import open_stage
from chalicelib import aws
from chalicelib.delivery.queue import SqsJobQueue
from chalicelib.domain import (
    ApiKey,
    Caller,
    Idempotency,
    Job,
    Message,
    Study,
    StudyStatus,
    Value,
    new_id,
)
from chalicelib.errors import QuotaExceeded
from chalicelib.services.ending import is_ours
from chalicelib.tenants.audit import Change
from chalicelib.tenants.intake import DynamoIntake
from chalicelib.tenants.jobs import DynamoJobStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

    from admin_cli.stage import Stage
    from chalicelib.domain import Client, Ended

# So long a message that was read here is hidden from others; it is shown again before that.
_HIDDEN = 300
_ABSENT = {"NoSuchKey", "404", "NotFound"}


class Letter(Value):
    """One dead letter. `study` and `client` are empty for a message that nobody can read."""

    message_id: str
    study: str = ""
    client: str = ""
    attempts: int = 0
    at: AwareDatetime | None = None
    why: str


class Redriven(Value):
    """What became of one letter; `queued` is the new study, where there is one."""

    study: str
    queued: str | None
    told: str


@dataclass(frozen=True, slots=True)
class _Held:
    """A letter, the message that it was read from, and how its study ended."""

    letter: Letter
    receipt: str
    ended: Ended | None


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The dead letters of one stage. Every method may raise CliError and StorageUnavailable."""

    stage: Stage
    sqs: SQSClient
    s3: S3Client

    def letters(self) -> tuple[Letter, ...]:
        """Return the letters, one for each study, the oldest first."""
        with self._held() as held:
            return tuple(one.letter for one in _of_each_study(held))

    def redrive(self, study_id: str | None) -> tuple[Redriven, ...]:
        """Queue one study anew, or for None all of them. Raises CliError for one without letter.

        A failed study is final: what is queued is a new one from the same bytes. Its letter is
        removed after that, so a run that was killed is finished by the next, with the same study.
        """
        with self._held() as held:
            wanted = [one for one in held if study_id in {None, one.letter.study}]
            if study_id is not None and not wanted:
                raise CliError(f"there is no dead letter of study {study_id}")
            done = []
            for one in _of_each_study(wanted):
                result, finished = self._redrive(one)
                done.append(result)
                if finished:
                    same = [o for o in held if o.letter.study == one.letter.study]
                    for letter in [one] if not one.letter.study else same:
                        self._remove(letter)
            return tuple(done)

    def _redrive(self, held: _Held) -> tuple[Redriven, bool]:  # noqa: PLR0911 - one for each case
        """Return what became of a letter, and whether it has done its work."""
        letter, ended = held.letter, held.ended
        if ended is None:
            return Redriven(study=letter.study, queued=None, told=letter.why), not letter.study
        if not is_ours(ended.study):
            told = f"nothing to do: the study is {ended.study.status}"
            return Redriven(study=letter.study, queued=None, told=told), True
        client = self.stage.accounts.client(letter.client)
        if client is None or client.deleting_at is not None or client.status == "suspended":
            told = "its client is suspended or being deleted"
            return Redriven(study=letter.study, queued=None, told=told), False
        # Asked first: a run that was killed may have erased the old bytes already.
        before = self._intake.known(client.id, _once(ended.study))
        if before is not None:
            self._ring(client, before)
            return Redriven(study=letter.study, queued=before.id, told="queued anew"), True
        name = self._copied(ended)
        if name is None:
            told = "its bytes are gone: they are kept for a day; ask the client to send it again"
            return Redriven(study=letter.study, queued=None, told=told), False
        try:
            queued = self._enqueue(client, ended.study, name)
        except QuotaExceeded as error:
            self._delete(name)
            return Redriven(study=letter.study, queued=None, told=error.detail), False
        if ended.object_name:
            self._delete(ended.object_name)
        return Redriven(study=letter.study, queued=queued.id, told="queued anew"), True

    def _enqueue(self, client: Client, failed: Study, name: str) -> Study:
        now = self.stage.clock()
        study = Study(id=new_id("st"), status=StudyStatus.QUEUED, created_at=now, mode=failed.mode)
        job = Job(
            study_id=study.id,
            client_id=client.id,
            mode=study.mode,
            object_name=name,
            created_at=now,
            metered_at=now if study.mode == "live" else None,
            request_id=f"redrive of {failed.id}",
        )
        stands = self._intake.enqueue(_in_place_of(client, study), study, job, _once(failed))
        if stands.id != study.id:
            self._delete(name)
        else:
            self._audit(client, failed, study)
        self._ring(client, stands)
        return stands

    @property
    def _intake(self) -> DynamoIntake:
        return DynamoIntake(self.stage.table, self.stage.clock)

    def _ring(self, client: Client, study: Study) -> None:
        found = self.stage.foundation
        queue = SqsJobQueue(self.sqs, found.QueueUrl, found.BulkQueueUrl)
        # By hand, and perhaps many: nobody's fresh study waits behind them.
        queue.send(Message(client_id=client.id, study_id=study.id), bulk=True)

    def _audit(self, client: Client, failed: Study, study: Study) -> None:
        change = Change(
            action="study.redrive",
            subject=failed.id,
            client_id=client.id,
            before=None,
            after={"queued": study.id},
        )
        self.stage.trail.commit(lambda: change)

    def _copied(self, ended: Ended) -> str | None:
        """Copy the bytes to a name of the new study's own; None when they are gone.

        The failed study may be erased at any time, and with it what it names.
        """
        if ended.object_name is None:
            return None
        folder = ended.object_name.rpartition("/")[0]
        name = f"{folder}/{new_id('up')}-{secrets.token_hex(16)}"
        bucket = self.stage.foundation.BucketName
        try:
            self.s3.copy_object(
                Bucket=bucket, Key=name, CopySource={"Bucket": bucket, "Key": ended.object_name}
            )
        except ClientError as error:
            if error.response["Error"].get("Code") in _ABSENT:
                return None
            raise
        return name

    def _delete(self, name: str) -> None:
        self.s3.delete_object(Bucket=self.stage.foundation.BucketName, Key=name)

    def _remove(self, held: _Held) -> None:
        url = self.stage.foundation.DeadLetterQueueUrl
        self.sqs.delete_message(QueueUrl=url, ReceiptHandle=held.receipt)

    @contextmanager
    def _held(self) -> Iterator[list[_Held]]:
        """Read all letters, and show those that are left to others again afterwards."""
        url, held = self.stage.foundation.DeadLetterQueueUrl, list[_Held]()
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

    def _read(self, message_id: str, body: str, receipt: str) -> _Held:
        try:
            message = Message.model_validate_json(body, extra="ignore")
        except ValidationError:
            letter = Letter(message_id=message_id, why="the message cannot be read")
            return _Held(letter, receipt, None)
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
        return _Held(letter, receipt, ended)


def open_dead_letters(stage: str) -> DeadLetters:
    """Return the dead letters of a deployed stage. Raises CliError as `open_stage` does."""
    return DeadLetters(open_stage(stage), aws.sqs(), aws.s3())


def _of_each_study(held: list[_Held]) -> list[_Held]:
    """Keep one letter of each study: a message that was sent again may have died as well."""
    kept = {one.letter.study or one.letter.message_id: one for one in held}
    return sorted(kept.values(), key=lambda one: one.letter.study)


def _why(ended: Ended | None) -> str:
    if ended is None:
        return "its study is gone, or still under way"
    if ended.study.error is None:
        return f"the study is {ended.study.status} since"
    return str(ended.study.error["code"])


def _once(failed: Study) -> Idempotency:
    """Return the word by which a second run finds the study that the first one queued."""
    digest = hashlib.sha256(failed.id.encode()).hexdigest()
    return Idempotency(key=f"redrive {failed.id}", fingerprint=digest)


def _in_place_of(client: Client, study: Study) -> Caller:
    """Return the caller of a study that the operator queues: a key that was never issued."""
    key = ApiKey(
        id="key_operator",
        client_id=client.id,
        sha256="0" * 64,
        hint="",
        mode=study.mode,
        created_at=study.created_at,
    )
    return Caller(client=client, key=key)
