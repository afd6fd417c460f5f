"""How a study is forgotten: a tombstone in its place, and a job until its objects are gone too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from chalicelib.domain import Job, Study, StudyStatus
from chalicelib.errors import NotFound, StorageUnavailable
from chalicelib.tenants import records
from chalicelib.tenants.dynamo import batch_get, translated
from chalicelib.tenants.studies import is_study_id
from chalicelib.tenants.transactions import THERE, Store, is_refusal, put, transact

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from chalicelib.tenants.records import Item

_TRIES = 8  # each lost to a worker that moved the study on; a study has few steps


class DynamoErasure(Store):
    """Satisfies `ports.Erasure` with the table."""

    def begin(self, client_id: str, study_id: str) -> Job:
        """Make a study of any state `deleted`, and keep a job that remembers its objects.

        The unit that was metered for it stays metered. Of its idempotency key stays that it was
        used, without what it was used for: an erased study is not made anew by a request that
        comes again. Raises NotFound or StorageUnavailable.
        """
        for _ in range(_TRIES):
            study, before, ended = self._read(client_id, study_id)
            after = self._without_lease(client_id, study, before, ended)
            tombstone = Study(
                id=study.id,
                status=StudyStatus.DELETED,
                created_at=study.created_at,
                mode=study.mode,
            )
            writes = [
                put(self.table, records.study_item(client_id, tombstone), THERE),
                self._replace(before, after),
            ]
            if not any(transact(self.table, writes, self.pause)):
                self._forget_request(after)
                return after
        raise StorageUnavailable("The study does not stand still; please try again.")

    def end(self, job: Job) -> None:
        """Drop the job, unless a worker may still be at the study: then the sweeper comes again.

        Raises StorageUnavailable.
        """
        with translated():
            try:
                self.table.delete_item(
                    Key=records.job_key(job.study_id),
                    ConditionExpression="attribute_not_exists(leased_until)"
                    " OR leased_until <= :now",
                    ExpressionAttributeValues={":now": records.moment(self.clock())},
                )
            except ClientError as error:
                if not is_refusal(error):
                    raise

    def _forget_request(self, job: Job) -> None:
        """Take what was asked, a hash with the image's in it, from what is noted of the key."""
        if job.once is None:
            return
        with translated():
            try:
                self.table.update_item(
                    Key={"pk": records.partition(job.client_id), "sk": job.once},
                    UpdateExpression="REMOVE fingerprint, study_id",
                    # Not when it is gone, or another study's after its 24 hours.
                    ConditionExpression="study_id = :id",
                    ExpressionAttributeValues={":id": job.study_id},
                )
            except ClientError as error:
                if not is_refusal(error):
                    raise

    def _read(self, client_id: str, study_id: str) -> tuple[Study, Job | None, Item]:
        """Return the study, its job, and its record, which tells of its job if that has ended."""
        found: list[Item] = []
        if is_study_id(study_id):
            keys = [records.study_key(client_id, study_id), records.job_key(study_id)]
            found = batch_get(self.table, keys)
        # A job alone may be another client's: only the study tells whose it is.
        if not found or found[0]["pk"] != records.partition(client_id):
            raise NotFound("There is no study with this id.")
        job = records.job_of(found[1]) if found[1:] else None
        return records.study_of(found[0]), job, found[0]

    def _without_lease(self, client_id: str, study: Study, job: Job | None, ended: Item) -> Job:
        """Return the job without a lease; until when it was leased stays, for `end` to see."""
        if job is not None:
            return job.model_copy(update={"lease": None, "metered_at": None, "erased": True})
        return Job(
            study_id=study.id,
            client_id=client_id,
            mode=study.mode,
            object_name=records.source_of(ended) or "",
            created_at=self.clock(),
            once=records.once_of(ended),
            erased=True,
        )

    def _replace(self, before: Job | None, after: Job) -> TransactWriteItemTypeDef:
        """Return the write of `after`, refused unless the job is still as it was read."""
        item = records.job_item(after)
        if before is None:
            return put(self.table, item)
        if before.lease is None:
            return put(self.table, item, f"{THERE} AND attribute_not_exists(lease)")
        # A worker that renews its lease meanwhile has longer: `end` must know until when.
        until = records.moment(before.leased_until) if before.leased_until else ""
        values = {":lease": before.lease, ":until": until}
        return put(self.table, item, "lease = :lease AND leased_until = :until", values)
