"""Queues a study anew that failed through our fault: a new study from the same bytes."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

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
from chalicelib.errors import IdempotencyConflict, NotFound, QuotaExceeded
from chalicelib.services.ending import is_ours
from chalicelib.tenants import records
from chalicelib.tenants.audit import Change
from chalicelib.tenants.intake import DynamoIntake

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

    from admin_cli.queue.letters import Held
    from admin_cli.stage import Stage
    from chalicelib.domain import Client, Ended

_Told = dict[str, str] | None
_ABSENT = {"NoSuchKey", "404", "NotFound"}


class Redriven(Value):
    """What became of one letter; `queued` is the new study, where there is one."""

    study: str
    queued: str | None
    told: str


@dataclass(frozen=True, slots=True)
class Redrive:
    """Queues studies of one stage anew. Its method may raise StorageUnavailable."""

    stage: Stage
    sqs: SQSClient
    s3: S3Client

    def study_of(self, held: Held) -> tuple[Redriven, bool]:  # noqa: PLR0911 - one for each case
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
        try:
            before = self._intake.known(client.id, _once(ended.study))
        except IdempotencyConflict:
            told = "nothing to do: it was queued anew, and that study was erased"
            return Redriven(study=letter.study, queued=None, told=told), True
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
        except NotFound:
            self._delete(name)
            told = "nothing to do: the study was erased just now"
            return Redriven(study=letter.study, queued=None, told=told), True
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
        # Noted first: a crash after it leaves an entry of a study that is not there, and the next
        # run another. The other way round it would leave a study that nobody is known to have made.
        told = {"queued": study.id}
        self._note(client, failed, None, told)
        try:
            stands = self._intake.enqueue(
                _in_place_of(client, study),
                study,
                job,
                _once(failed),
                provisos=[self._still_failed(client, failed)],
            )
        except (QuotaExceeded, NotFound):
            self._note(client, failed, told, None)
            raise
        if stands.id != study.id:  # another run was quicker
            self._delete(name)
            self._note(client, failed, told, None)
        self._ring(client, stands)
        return stands

    def _still_failed(self, client: Client, failed: Study) -> TransactWriteItemTypeDef:
        """Return the part of a transaction that is refused once a study was erased.

        Its client may erase it while its bytes are copied: they must not come back as another.
        """
        return {
            "ConditionCheck": {
                "TableName": self.stage.table.name,
                "Key": records.study_key(client.id, failed.id),
                "ConditionExpression": "#status = :failed",
                "ExpressionAttributeNames": {"#status": "status"},
                "ExpressionAttributeValues": {":failed": StudyStatus.FAILED.value},
            }
        }

    @property
    def _intake(self) -> DynamoIntake:
        return DynamoIntake(self.stage.table, self.stage.clock)

    def _ring(self, client: Client, study: Study) -> None:
        found = self.stage.foundation
        queue = SqsJobQueue(self.sqs, found.QueueUrl, found.BulkQueueUrl)
        # By hand, and perhaps many: nobody's fresh study waits behind them.
        queue.send(Message(client_id=client.id, study_id=study.id), bulk=True)

    def _note(self, client: Client, failed: Study, before: _Told, after: _Told) -> None:
        """Tell the audit trail which study is queued in place of a failed one; None: no longer."""
        change = Change("study.redrive", failed.id, client.id, before, after)
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
