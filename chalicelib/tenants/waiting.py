"""The line of queued studies: what waits, what nobody works at, and what is noted of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from ulid import ULID

from chalicelib.domain import StudyStatus
from chalicelib.tenants import records
from chalicelib.tenants.dynamo import Slice, query, translated
from chalicelib.tenants.reading import readable
from chalicelib.tenants.transactions import Store, is_refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from chalicelib.domain import Job
    from chalicelib.ports import Unreadable
    from chalicelib.tenants.records import Item

_TIME = 10  # characters of an id, after its prefix, that tell its time in milliseconds
_FREE = "attribute_not_exists(leased_until) OR leased_until <= :now"


class WaitingJobs(Store):
    """The part of `ports.JobStore` that looks at jobs without working at them."""

    def stuck(self, before: datetime, unreadable: Unreadable | None = None) -> Iterator[Job]:
        """Yield the jobs made before `before` that nobody has a lease on, the oldest first.

        `unreadable` is told of records that do not validate, and the next one is looked at.
        In order within each of 16 parts; another one is the first in each minute, so that what
        comes last is not always the same. Raises StorageUnavailable.
        """
        now = self.clock()
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
                    answer = self.table.query(**arguments)
                yield from readable(answer["Items"], records.job_of, unreadable)
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
        return len(query(self.table, Slice(queued, index=records.INDEX), at_most))

    def _update(self, job: Job, expression: str, values: Item) -> bool:
        """Change a record that nobody has moved on since; tell whether that was so."""
        condition, unmoved = still(job)
        with translated():
            try:
                self.table.update_item(
                    Key=records.job_key(job.study_id),
                    UpdateExpression=expression,
                    ConditionExpression=condition,
                    ExpressionAttributeValues=values | unmoved,
                )
            except ClientError as error:
                if not is_refusal(error):
                    raise
                return False
        return True


def still(job: Job) -> tuple[str, Item]:
    """Return the condition, and its values, that a job is as it was read.

    It is not once somebody has begun, released or erased the study since.
    """
    if job.lease is None:
        return "attempt = :attempt AND attribute_not_exists(lease)", {":attempt": job.attempt}
    return "attempt = :attempt AND lease = :lease", {
        ":attempt": job.attempt,
        ":lease": job.lease,
    }
