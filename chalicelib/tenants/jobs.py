"""How queued studies move on: a lease for one worker at a time, and one write for each end."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from chalicelib.domain import LEASE, Ended, StudyStatus
from chalicelib.tenants import records
from chalicelib.tenants.dynamo import batch_get, translated
from chalicelib.tenants.metering import giving_back
from chalicelib.tenants.transactions import is_refusal, put, transact
from chalicelib.tenants.waiting import WaitingJobs, still

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from chalicelib.domain import Delivery, Job, Study
    from chalicelib.tenants.records import Item

_OPEN = {StudyStatus.QUEUED, StudyStatus.RUNNING}


class DynamoJobStore(WaitingJobs):
    """Satisfies `ports.JobStore`: who works at a job is served here, who looks at it there."""

    def begin(self, client_id: str, study_id: str) -> Job | None:
        """Lease a queued study, or a running one whose lease has run out; count the attempt.

        None when there is nothing to do: it is finished, erased, unknown, or another has it.
        Raises StorageUnavailable.
        """
        keys = [records.job_key(study_id), records.study_key(client_id, study_id)]
        found = {item["pk"]: item for item in batch_get(self.table, keys)}
        if keys[0]["pk"] not in found:
            return None
        before = records.job_of(found[keys[0]["pk"]])
        if keys[1]["pk"] not in found:
            if before.client_id == client_id:  # its client was deleted, with all of its studies
                self._drop(before)
            return None
        study = records.study_of(found[keys[1]["pk"]])
        now = self.clock()
        taken = before.leased_until is not None and before.leased_until > now
        if taken or study.status not in _OPEN:
            return None
        job = before.model_copy(
            update={
                "attempt": before.attempt + 1,
                "lease": secrets.token_hex(8),
                "leased_until": now + LEASE,
            }
        )
        running = study.model_copy(update={"status": StudyStatus.RUNNING})
        writes = [
            self._move(records.study_item(client_id, running), was=study.status),
            put(self.table, records.job_item(job), *_unrenewed(before)),
        ]
        return None if any(transact(self.table, writes, self.pause)) else job

    def finish(self, job: Job, study: Study, deliveries: Sequence[Delivery] = ()) -> bool:
        """Store a result and what must be told of it, and drop the job, all or nothing.

        False when the lease is no longer this job's or the study was erased meanwhile. Raises
        StorageUnavailable, after which it may be stored all the same: `ended` tells.
        """
        return self._end(job, study, deliveries, [])

    def fail(self, job: Job, study: Study, deliveries: Sequence[Delivery] = ()) -> bool:
        """Store a failure, give the metered unit back and drop the job; otherwise as `finish`."""
        return self._end(job, study, deliveries, giving_back(self.table, job))

    def renew(self, job: Job) -> Job | None:
        """Begin the time of a lease anew; None when it is another's by now, or the study erased.

        Raises StorageUnavailable.
        """
        until = self.clock() + LEASE
        if not self._update(job, "SET leased_until = :until", {":until": records.moment(until)}):
            return None
        return job.model_copy(update={"leased_until": until})

    def release(self, job: Job) -> None:
        """Give the lease up before its time, so that the next attempt need not wait for it.

        Nothing happens when it is another's by now. Raises StorageUnavailable.
        """
        self._update(
            job,
            "SET leased_until = :now REMOVE lease",
            {":now": records.moment(self.clock())},
        )

    def ended(self, client_id: str, study_id: str) -> Ended | None:
        """Return how a study ended, None while it has not, or when it is unknown.

        Raises StorageUnavailable.
        """
        items = batch_get(self.table, [records.study_key(client_id, study_id)])
        if not items:
            return None
        study = records.study_of(items[0])
        if study.status in _OPEN:
            return None
        return Ended(
            study=study,
            object_name=records.source_of(items[0]),
            attempts=records.attempts_of(items[0]),
        )

    def _end(
        self,
        job: Job,
        study: Study,
        deliveries: Sequence[Delivery],
        further: list[TransactWriteItemTypeDef],
    ) -> bool:
        writes: list[TransactWriteItemTypeDef] = [
            self._move(records.study_item(job.client_id, study, job), StudyStatus.RUNNING),
            {
                "Delete": {
                    "TableName": self.table.name,
                    "Key": records.job_key(job.study_id),
                    "ConditionExpression": "lease = :lease",
                    "ExpressionAttributeValues": {":lease": job.lease or ""},
                }
            },
            *(put(self.table, records.delivery_item(delivery)) for delivery in deliveries),
            *further,
        ]
        return not any(transact(self.table, writes, self.pause))

    def _move(self, item: Item, was: StudyStatus) -> TransactWriteItemTypeDef:
        """Return the write of a study's record, refused unless its status is still `was`."""
        return put(self.table, item, "#status = :was", {":was": was.value}, {"#status": "status"})

    def _drop(self, job: Job) -> None:
        condition, values = still(job)
        with translated():
            try:
                self.table.delete_item(
                    Key=records.job_key(job.study_id),
                    ConditionExpression=condition,
                    ExpressionAttributeValues=values,
                )
            except ClientError as error:
                if not is_refusal(error):
                    raise


def _unrenewed(job: Job) -> tuple[str, Item]:
    """Return the condition, and its values, that a job and the end of its lease are as read.

    Whoever holds the lease may renew it between our reading and our writing.
    """
    condition, values = still(job)
    if job.lease is None or job.leased_until is None:
        return condition, values
    return (
        f"{condition} AND leased_until = :until",
        values | {":until": records.moment(job.leased_until)},
    )
