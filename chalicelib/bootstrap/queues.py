"""What goes through SQS: sent to the queues, and taken from their events."""

# ruff: noqa: PLC0415 - imports stand where they are first needed; that is the point here

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from chalicelib.bootstrap.base import now
from chalicelib.bootstrap.operation import monitor
from chalicelib.settings import settings

if TYPE_CHECKING:
    from chalicelib.delivery.batches import SqsBatches
    from chalicelib.delivery.notices import SqsNotices
    from chalicelib.ports import JobQueue, Outbox


@cache
def job_queue() -> JobQueue:
    """Return the two queues of the workers."""
    from chalicelib.aws import sqs
    from chalicelib.delivery.queue import SqsJobQueue

    return SqsJobQueue(sqs(), settings().queue_url, settings().bulk_queue_url)


@cache
def batches() -> SqsBatches:
    """Return what takes SQS's events apart."""
    from chalicelib.aws import sqs
    from chalicelib.delivery.batches import SqsBatches

    urls = (settings().queue_url, settings().bulk_queue_url)
    return SqsBatches(sqs(), {url.rpartition("/")[2]: url for url in urls})


@cache
def outbox() -> Outbox:
    """Return the queue of deliveries."""
    from chalicelib.aws import sqs
    from chalicelib.delivery.outbox import SqsOutbox

    return SqsOutbox(sqs(), settings().delivery_queue_url, now)


@cache
def notices() -> SqsNotices:
    """Return what takes the events of the queue of deliveries apart."""
    from chalicelib.delivery.notices import SqsNotices

    return SqsNotices(monitor("deliver"))
