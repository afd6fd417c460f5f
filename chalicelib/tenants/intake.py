"""How studies come in: uploads, idempotency keys, and the one write that makes a queued study."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from chalicelib.domain import IDEMPOTENCY_LIFE, StudyStatus, UploadId
from chalicelib.errors import IdempotencyConflict, NotFound, StorageUnavailable
from chalicelib.tenants import periods, records
from chalicelib.tenants.dynamo import translated
from chalicelib.tenants.metering import units
from chalicelib.tenants.transactions import NEW, THERE, Store, put, transact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from chalicelib.domain import Caller, Idempotency, Job, Study, Upload
    from chalicelib.tenants.records import Item

_upload_id = TypeAdapter[str](UploadId)


class DynamoIntake(Store):
    """Satisfies `ports.Intake` with the table."""

    def add_upload(self, upload: Upload) -> None:
        """Remember an upload until its `expires_at`. Raises StorageUnavailable."""
        with translated():
            self.table.put_item(Item=records.upload_item(upload))

    def upload(self, client_id: str, upload_id: str) -> Upload:
        """Return an upload of this client.

        Raises NotFound, also once it was used or expired, and StorageUnavailable.
        """
        item = None
        if _is_upload_id(upload_id):
            item = self._read(records.upload_key(client_id, upload_id))
        if item is None or records.is_spent(item):
            raise _no_upload()
        return records.upload_of(item)

    def known(self, client_id: str, idempotency: Idempotency) -> Study | None:
        """Return the study that this key made in the last day, None for a new key.

        Raises IdempotencyConflict when it made it of another request or it was erased, and
        StorageUnavailable.
        """
        once = self._read(records.once_key(client_id, idempotency.key))
        if once is None:
            return None
        if "fingerprint" not in once:
            raise _was_erased()
        if once["fingerprint"] != idempotency.fingerprint:
            raise IdempotencyConflict(
                "This Idempotency-Key came with another request before. Use a new one."
            )
        item = self._read(records.study_key(client_id, once["study_id"]))
        study = None if item is None else records.study_of(item)
        if study is not None and study.status is StudyStatus.DELETED:
            raise _was_erased()  # and nobody has got to note it with the key yet
        return study

    def enqueue(  # noqa: PLR0913 - all that makes a study is one transaction
        self,
        caller: Caller,
        study: Study,
        job: Job,
        idempotency: Idempotency | None = None,
        upload_id: str | None = None,
        *,
        provisos: Sequence[TransactWriteItemTypeDef] = (),
    ) -> Study:
        """Store a queued study with its job and meter one unit of a live key, all or nothing.

        The unit belongs to the period of the job's `metered_at`. An upload is used up. Returns
        the study that stands: the given one, or the one that the idempotency key made before.
        Raises QuotaExceeded, IdempotencyConflict, NotFound for an upload that is no longer
        there or where one of `provisos`, further parts of the transaction, does not hold, or
        StorageUnavailable.
        """
        client = caller.client
        if job.metered_at is not None:
            # Noted, since the plan, and with it the period, may be another when it is given back.
            period = periods.start(client.plan.studies, job.metered_at)
            job = job.model_copy(update={"metered_period": period})
        parts = [("study", put(self.table, records.study_item(client.id, study)))]
        if idempotency is not None:
            job = job.model_copy(update={"once": records.once_name(idempotency.key)})
            parts.append(("key", self._remember(client.id, idempotency, study)))
        if upload_id is not None:
            parts.append(("upload", self._use_up(client.id, upload_id)))
        parts += zip(repeat("proviso"), provisos)
        for unit in units(self, client, study.id, job.metered_at):
            charged = job.model_copy(update={"metered_shard": unit.shard})
            every = [
                *parts,
                ("job", put(self.table, records.job_item(charged))),
                *(("unit", write) for write in unit.writes),
            ]
            refusals = transact(self.table, [write for _, write in every], self.pause)
            refused = {name for (name, _), no in zip(every, refusals, strict=True) if no}
            if not refused or "study" in refused:  # an earlier try of ours made it after all
                return study
            # The key first: its study stands although its upload is used and the last unit gone.
            if "key" in refused and idempotency is not None:
                return self._made_before(client.id, idempotency)
            if refused & {"upload", "proviso"}:
                raise _no_upload()
            if "unit" not in refused:
                break
        raise AssertionError("a job without its study")

    def _made_before(self, client_id: str, idempotency: Idempotency) -> Study:
        study = self.known(client_id, idempotency)
        if study is None:  # forgotten in this very moment
            raise StorageUnavailable("The table does not answer; please try again.")
        return study

    def _read(self, key: Item) -> Item | None:
        """Return a record unless it is to be forgotten by now: DynamoDB drops such ones late."""
        with translated():
            item = self.table.get_item(Key=key, ConsistentRead=True).get("Item")
        if item is None or int(str(item.get(records.FORGOTTEN_AT, _NEVER))) <= self._now():
            return None
        return item

    def _now(self) -> int:
        return int(self.clock().timestamp())

    def _remember(
        self, client_id: str, idempotency: Idempotency, study: Study
    ) -> TransactWriteItemTypeDef:
        expires_at = study.created_at + IDEMPOTENCY_LIFE
        return put(
            self.table,
            records.once_item(client_id, idempotency, study.id, expires_at),
            f"{NEW} OR #expiry <= :now",
            {":now": self._now()},
            {"#expiry": records.FORGOTTEN_AT},
        )

    def _use_up(self, client_id: str, upload_id: str) -> TransactWriteItemTypeDef:
        change, values, names = records.spending(upload_id)
        return {
            "Update": {
                "TableName": self.table.name,
                "Key": records.upload_key(client_id, upload_id),
                "UpdateExpression": change,
                "ConditionExpression": f"{THERE} AND attribute_not_exists(gsi1pk)",
                "ExpressionAttributeValues": values,
                "ExpressionAttributeNames": names,
            }
        }


_NEVER = 2**62


def _is_upload_id(text: str) -> bool:
    try:
        _upload_id.validate_python(text)
    except ValidationError:
        return False
    return True


def _was_erased() -> IdempotencyConflict:
    return IdempotencyConflict(
        "The study that this Idempotency-Key made was erased. Use a new one."
    )


def _no_upload() -> NotFound:
    return NotFound("There is no upload with this id, or it was used or has expired.")
