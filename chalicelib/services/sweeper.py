"""The sweeper: once a minute it finds what a crash has left, and what has outlived its time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from chalicelib.domain import (
    LAST_BYTES,
    MAX_ATTEMPTS,
    UPLOAD_LIFE,
    UPLOAD_LINK,
    Message,
    StudyStatus,
)
from chalicelib.services.intake import SHARE

if TYPE_CHECKING:
    from collections.abc import Callable

    from chalicelib.domain import Job, SpentUpload
    from chalicelib.ports import (
        Clock,
        DeliveryStore,
        JobQueue,
        JobStore,
        Monitor,
        Outbox,
        SourceStore,
        SpentUploads,
    )
    from chalicelib.services.ending import Endings
    from chalicelib.services.erasure import ErasureService
    from chalicelib.services.expiring import RetentionService
    from chalicelib.services.timing import Deadline

# A job that has not moved for so long is rung for; each further ring waits twice as long, since
# behind a flood it may only be waiting for its turn.
PATIENCE = timedelta(minutes=5)
LONGEST_PATIENCE = timedelta(hours=2)
# How much of a run's time is left for what comes after a part, in seconds.
_AFTER_JOBS = 30.0
_AFTER_DELIVERIES = 20.0
_AFTER_FORMS = 15.0


@dataclass
class Swept:
    """What a run has done."""

    rung: int = 0
    given_up: int = 0
    erasures_finished: int = 0
    deliveries_sent: int = 0
    expired: int = 0
    strays: int = 0
    forms_ended: int = 0
    failures: int = 0
    per_client: Counter[str] = field(default_factory=Counter, repr=False)

    def facts(self) -> dict[str, float]:
        """Return the numbers."""
        return {
            "rung": self.rung,
            "given_up": self.given_up,
            "erasures_finished": self.erasures_finished,
            "deliveries_sent": self.deliveries_sent,
            "expired": self.expired,
            "strays": self.strays,
            "forms_ended": self.forms_ended,
            "failures": self.failures,
        }

    def unreadable(self, monitor: Monitor, error: Exception, **ids: str) -> None:
        """Count and report a record that does not validate and is passed over."""
        self.failures += 1
        monitor.defect("sweep: a record cannot be read", error, **ids)


@dataclass(frozen=True, slots=True)
class SweeperService:
    """Sweeps. Each part is bounded in time and goes on in the next run where this one stopped."""

    jobs: JobStore
    queue: JobQueue
    deliveries: DeliveryStore
    outbox: Outbox
    uploads: SpentUploads
    sources: SourceStore
    retention: RetentionService
    erasure: ErasureService
    endings: Endings
    monitor: Monitor
    clock: Clock

    def sweep(self, deadline: Deadline) -> Swept:
        """Do what is to be done, as far as time goes; a part that fails does not stop the others.

        `deadline`: of the run, about 50 seconds away.
        """
        swept = Swept()
        for part in (self._jobs, self._deliveries, self._forms, self.retention.expire):
            self._try(part, swept, deadline)
        self.monitor.note("sweep", **swept.facts())
        for name, count in swept.facts().items():
            self.monitor.measure("Swept", count, "Count", what=name)
        return swept

    def _jobs(self, swept: Swept, deadline: Deadline) -> None:
        oldest = timedelta()
        for job in self.jobs.stuck(self.clock(), partial(swept.unreadable, self.monitor)):
            if deadline.left() < _AFTER_JOBS:
                break
            oldest = max(oldest, self.clock() - job.created_at)
            if self._is_due(job):
                self._try(self._move_on, swept, job, **job.facts())
        self.monitor.measure("OldestJob", oldest.total_seconds(), "Seconds")

    def _is_due(self, job: Job) -> bool:
        """Tell whether a job that nobody has a lease on has stood still for too long."""
        if job.erased:
            return True  # it waits for no worker, and its client was told that it is gone
        now = self.clock()
        free = job.leased_until or job.created_at
        if job.rung_at is not None and job.rung_at >= free:
            return now >= job.rung_at + min(LONGEST_PATIENCE, PATIENCE * (1 << min(job.rings, 10)))
        if job.lease is not None:
            return True  # its worker has died: its message may stay hidden for a long time yet
        return now - free >= PATIENCE

    def _move_on(self, swept: Swept, job: Job) -> None:
        ended = self.jobs.ended(job.client_id, job.study_id)
        if ended is not None and ended.study.status is StudyStatus.DELETED:
            self.erasure.erase(job.client_id, job.study_id)
            swept.erasures_finished += 1
        elif job.attempt >= MAX_ATTEMPTS or self.clock() - job.created_at > UPLOAD_LIFE:
            # Begun as often as it may be, or older than its bytes are kept.
            leased = self.jobs.begin(job.client_id, job.study_id)
            if leased is not None:
                self.endings.fail(leased, None)
                swept.given_up += 1
        else:
            swept.per_client[job.client_id] += 1
            message = Message(client_id=job.client_id, study_id=job.study_id)
            self.queue.send(message, bulk=swept.per_client[job.client_id] > SHARE)
            # After the message: two of it do no harm, none would for a while.
            self.jobs.note_ring(job, self.clock())
            swept.rung += 1
            self.monitor.note("rung", **job.facts(), rings=job.rings + 1)

    def _deliveries(self, swept: Swept, deadline: Deadline) -> None:
        unreadable = partial(swept.unreadable, self.monitor)
        for delivery in self.deliveries.due(self.clock(), unreadable):
            if deadline.left() < _AFTER_DELIVERIES:
                break
            self.outbox.send(delivery)
            swept.deliveries_sent += 1

    def _forms(self, swept: Swept, deadline: Deadline) -> None:
        """Erase what was posted to a form after its study was taken in; nothing more can come."""
        ended = self.clock() - UPLOAD_LINK - LAST_BYTES
        unreadable = partial(swept.unreadable, self.monitor)
        for upload in self.uploads.made_before(ended, unreadable):
            if deadline.left() < _AFTER_FORMS:
                break
            self._try(self._end_form, swept, upload, client=upload.client_id)

    def _end_form(self, swept: Swept, upload: SpentUpload) -> None:
        self.sources.drop(upload.object_name)
        self.uploads.forget(upload)
        swept.forms_ended += 1

    def _try(
        self, step: Callable[..., None], swept: Swept, subject: object, **facts: str | int
    ) -> None:
        try:
            step(swept, subject)
        except Exception as error:  # noqa: BLE001 - it is reported, and the next run comes again
            swept.failures += 1
            self.monitor.defect("sweep", error, **facts)
