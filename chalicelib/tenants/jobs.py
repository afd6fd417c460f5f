"""How queued studies move on: a lease for one worker at a time, and one write for each end."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from ulid import ULID

from chalicelib.domain import LEASE, Ended, StudyStatus
from chalicelib.tenants import periods, records
from chalicelib.tenants.dynamo import Slice, batch_get, query, translated
from chalicelib.tenants.transactions import REFUSED, transact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from chalicelib.domain import Delivery, Job, Study
    from chalicelib.ports import Clock
    from chalicelib.tenants.records import Item

_OPEN = {StudyStatus.QUEUED, StudyStatus.RUNNING}
_TIME = 10  # characters of an id, after its prefix, that tell its time in milliseconds
_FREE = "attribute_not_exists(leased_until) OR leased_until <= :now"


class DynamoJobStore:
    """Satisfies `ports.JobStore`. `pause` waits for as many seconds as it is told."""

    def __init__(
        self, table: Table, clock: Clock, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._table = table
        self._clock = clock
        self._pause = pause

    def begin(self, client_id: str, study_id: str) -> Job | None:
        """Lease a queued study, or a running one whose lease has run out; count the attempt.

        None when there is nothing to do: it is finished, erased, unknown, or another has it.
        Raises StorageUnavailable.
        """
        keys = [records.job_key(study_id), records.study_key(client_id, study_id)]
        found = {item["pk"]: item for item in batch_get(self._table, keys)}
        if keys[0]["pk"] not in found:
            return None
        before = records.job_of(found[keys[0]["pk"]])
        if keys[1]["pk"] not in found:
            if before.client_id == client_id:  # its client was deleted, with all of its studies
                self._drop(before)
            return None
        study = records.study_of(found[keys[1]["pk"]])
        now = self._clock()
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
            self._put_study(client_id, running, was=study.status),
            self._replace(job, before),
        ]
        return None if any(transact(self._table, writes, self._pause)) else job

    def finish(self, job: Job, study: Study, deliveries: Sequence[Delivery] = ()) -> bool:
        """Store a result and what must be told of it, and drop the job, all or nothing.

        False when the lease is no longer this job's or the study was erased meanwhile. Raises
        StorageUnavailable, after which it may be stored all the same: `ended` tells.
        """
        return self._end(job, study, deliveries, [])

    def fail(self, job: Job, study: Study, deliveries: Sequence[Delivery] = ()) -> bool:
        """Store a failure, give the metered unit back and drop the job; otherwise as `finish`."""
        return self._end(job, study, deliveries, self._give_back(job))

    def renew(self, job: Job) -> Job | None:
        """Begin the time of a lease anew; None when it is another's by now, or the study erased.

        Raises StorageUnavailable.
        """
        until = self._clock() + LEASE
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
            {":now": records.moment(self._clock())},
        )

    def ended(self, client_id: str, study_id: str) -> Ended | None:
        """Return how a study ended, None while it has not, or when it is unknown.

        Raises StorageUnavailable.
        """
        items = batch_get(self._table, [records.study_key(client_id, study_id)])
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

    def stuck(self, before: datetime) -> Iterator[Job]:
        """Yield the jobs made before `before` that nobody has a lease on, the oldest first.

        In order within each of 16 parts; another one is the first in each minute, so that what
        comes last is not always the same. Raises StorageUnavailable.
        """
        now = self._clock()
        first = now.minute % len(records.JOB_SHARDS)
        for shard in records.JOB_SHARDS[first:] + records.JOB_SHARDS[:first]:
            arguments: Item = {
                "KeyConditionExpression": "pk = :pk AND sk < :bound",
                "FilterExpression": _FREE,
                "ExpressionAttributeValues": {
                    ":pk": records.job_partition(shard),
                    ":bound": f"st_{str(ULID.from_datetime(before))[:_TIME]}",
                    ":now": records.moment(now),
                },
            }
            while True:
                with translated():
                    answer = self._table.query(**arguments)
                yield from (records.job_of(item) for item in answer["Items"])
                if "LastEvaluatedKey" not in answer:
                    break
                arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def note_ring(self, job: Job, at: datetime) -> None:
        """Note that the job's message was sent again; nothing when it has moved on meanwhile.

        Raises StorageUnavailable.
        """
        self._update(
            job,
            "SET rings = :rings, rung_at = :at",
            {":rings": job.rings + 1, ":at": records.moment(at)},
        )

    def waiting(self, client_id: str, at_most: int) -> int:
        """Return how many of a client's studies are queued, counting no further than `at_most`.

        What was queued in the last moment may be missing. Raises StorageUnavailable.
        """
        queued = records.status_partition(client_id, StudyStatus.QUEUED)
        return len(query(self._table, Slice(queued, index=records.INDEX), at_most))

    def _end(
        self,
        job: Job,
        study: Study,
        deliveries: Sequence[Delivery],
        further: list[TransactWriteItemTypeDef],
    ) -> bool:
        writes: list[TransactWriteItemTypeDef] = [
            self._put_study(job.client_id, study, StudyStatus.RUNNING, job),
            {
                "Delete": {
                    "TableName": self._table.name,
                    "Key": records.job_key(job.study_id),
                    "ConditionExpression": "lease = :lease",
                    "ExpressionAttributeValues": {":lease": job.lease or ""},
                }
            },
            *(self._put(records.delivery_item(delivery)) for delivery in deliveries),
            *further,
        ]
        return not any(transact(self._table, writes, self._pause))

    def _give_back(self, job: Job) -> list[TransactWriteItemTypeDef]:
        """Return the write that takes one unit off the record and the day that were charged."""
        if job.metered_at is None or job.metered_period is None:
            return []
        return [
            {
                "Update": {
                    "TableName": self._table.name,
                    "Key": records.usage_key(job.client_id, job.metered_period),
                    "UpdateExpression": "ADD #used :less, #day :less",
                    "ExpressionAttributeNames": {
                        "#used": "used",
                        "#day": periods.day(job.metered_at),
                    },
                    "ExpressionAttributeValues": {":less": -1},
                }
            }
        ]

    def _put_study(
        self, client_id: str, study: Study, was: StudyStatus, job: Job | None = None
    ) -> TransactWriteItemTypeDef:
        return {
            "Put": {
                "TableName": self._table.name,
                "Item": records.study_item(client_id, study, job),
                "ConditionExpression": "#status = :was",
                "ExpressionAttributeNames": {"#status": "status"},
                "ExpressionAttributeValues": {":was": was.value},
            }
        }

    def _put(self, item: Item) -> TransactWriteItemTypeDef:
        return {
            "Put": {
                "TableName": self._table.name,
                "Item": item,
                "ConditionExpression": "attribute_not_exists(pk)",
            }
        }

    def _replace(self, job: Job, before: Job) -> TransactWriteItemTypeDef:
        """Return the write of `job`, refused unless the record is as it was in `before`."""
        condition, values = _unmoved(before)
        return {
            "Put": {
                "TableName": self._table.name,
                "Item": records.job_item(job),
                "ConditionExpression": condition,
                "ExpressionAttributeValues": values,
            }
        }

    def _update(self, job: Job, expression: str, values: Item) -> bool:
        """Change a record that nobody has moved on since; tell whether that was so."""
        condition, unmoved = _unmoved(job)
        with translated():
            try:
                self._table.update_item(
                    Key=records.job_key(job.study_id),
                    UpdateExpression=expression,
                    ConditionExpression=condition,
                    ExpressionAttributeValues=values | unmoved,
                )
            except ClientError as error:
                if not _refused(error):
                    raise
                return False
        return True

    def _drop(self, job: Job) -> None:
        condition, values = _unmoved(job)
        with translated():
            try:
                self._table.delete_item(
                    Key=records.job_key(job.study_id),
                    ConditionExpression=condition,
                    ExpressionAttributeValues=values,
                )
            except ClientError as error:
                if not _refused(error):
                    raise


def _unmoved(job: Job) -> tuple[str, Item]:
    """Return the condition that nobody has begun, released or erased the study since."""
    if job.lease is None:
        return "attempt = :attempt AND attribute_not_exists(lease)", {":attempt": job.attempt}
    return "attempt = :attempt AND lease = :lease", {
        ":attempt": job.attempt,
        ":lease": job.lease,
    }


def _refused(error: ClientError) -> bool:
    return error.response["Error"].get("Code") == f"{REFUSED}Exception"
