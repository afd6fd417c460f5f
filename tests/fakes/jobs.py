"""Queued studies in memory: the jobs, what leases them, and the queue that rings for them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from chalicelib.domain import LEASE, Delivery, Ended, Job, Message, Study, StudyStatus
from chalicelib.errors import NotFound
from chalicelib.ports import JobQueue, JobStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from chalicelib.ports import Clock, Unreadable
    from tests.fakes.tenants import FakeLedger, FakeStudyStore

_OPEN = {StudyStatus.QUEUED, StudyStatus.RUNNING}


@dataclass(frozen=True)
class Once:
    """What an idempotency key did, until `ends`; the others are None once its study was erased."""

    fingerprint: str | None
    study_id: str | None
    ends: datetime


class FakeJobStore(JobStore):
    """Jobs in a dictionary; their studies are those of `studies`, their units of `ledger`.

    `deliveries`: all that the ends of studies have stored. `once`: what the keys of clients did.
    """

    def __init__(self, studies: FakeStudyStore, ledger: FakeLedger, clock: Clock) -> None:
        self.jobs: dict[str, Job] = {}
        self.once: dict[tuple[str, str], Once] = {}
        self.deliveries: list[Delivery] = []
        self._ended: dict[str, Job] = {}
        self._studies = studies
        self._ledger = ledger
        self._clock = clock
        self._words = itertools.count(1)
        self._lock = Lock()

    def begin(self, client_id: str, study_id: str) -> Job | None:
        with self._lock:
            job, study = self.jobs.get(study_id), self._study(client_id, study_id)
            if job is None or job.client_id != client_id:
                return None
            if study is None:
                del self.jobs[study_id]
                return None
            taken = job.leased_until is not None and job.leased_until > self._clock()
            if taken or study.status not in _OPEN:
                return None
            leased = {
                "attempt": job.attempt + 1,
                "lease": f"lease {next(self._words)}",
                "leased_until": self._clock() + LEASE,
            }
            self.jobs[study_id] = job.model_copy(update=leased)
            running = study.model_copy(update={"status": StudyStatus.RUNNING})
            self._studies.place(client_id, running)
            return self.jobs[study_id]

    def finish(self, job: Job, study: Study, deliveries: Sequence[Delivery] = ()) -> bool:
        return self._end(job, study, deliveries)

    def fail(self, job: Job, study: Study, deliveries: Sequence[Delivery] = ()) -> bool:
        ended = self._end(job, study, deliveries)
        if ended and job.metered_period is not None:
            self._ledger.give_back(job.client_id, job.metered_period)
        return ended

    def renew(self, job: Job) -> Job | None:
        with self._lock:
            if not self._is_unmoved(job):
                return None
            renewed = job.model_copy(update={"leased_until": self._clock() + LEASE})
            self.jobs[job.study_id] = renewed
            return renewed

    def release(self, job: Job) -> None:
        with self._lock:
            if self._is_unmoved(job):
                free = {"lease": None, "leased_until": self._clock()}
                self.jobs[job.study_id] = job.model_copy(update=free)

    def ended(self, client_id: str, study_id: str) -> Ended | None:
        study = self._study(client_id, study_id)
        if study is None or study.status in _OPEN:
            return None
        job = self._ended.get(study_id)
        return Ended(study=study) if job is None else _ended(study, job)

    def stuck(self, before: datetime, unreadable: Unreadable | None = None) -> Iterator[Job]:
        del unreadable
        now = self._clock()
        for _, job in sorted(self.jobs.items()):
            free = job.leased_until is None or job.leased_until <= now
            if free and job.created_at < before:
                yield job

    def note_ring(self, job: Job, at: datetime) -> None:
        with self._lock:
            if self._is_unmoved(job):
                rung = {"rings": job.rings + 1, "rung_at": at}
                self.jobs[job.study_id] = job.model_copy(update=rung)

    def waiting(self, client_id: str, at_most: int) -> int:
        found = self._studies.page(client_id, at_most, None, StudyStatus.QUEUED)
        return len(found.items)

    def _end(self, job: Job, study: Study, deliveries: Sequence[Delivery]) -> bool:
        with self._lock:
            known = self._study(job.client_id, study.id)
            stands = self.jobs.get(job.study_id)
            if known is None or known.status is not StudyStatus.RUNNING:
                return False
            if stands is None or job.lease is None or stands.lease != job.lease:
                return False
            del self.jobs[job.study_id]
            self._studies.place(job.client_id, study)
            self._ended[study.id] = job
            self.deliveries += deliveries
            return True

    def _is_unmoved(self, job: Job) -> bool:
        known = self.jobs.get(job.study_id)
        return known is not None and (known.attempt, known.lease) == (job.attempt, job.lease)

    def _study(self, client_id: str, study_id: str) -> Study | None:
        try:
            return self._studies.get(client_id, study_id)
        except NotFound:
            return None


def _ended(study: Study, job: Job) -> Ended:
    return Ended(study=study, object_name=job.object_name, attempts=job.attempt)


@dataclass
class FakeJobQueue(JobQueue):
    """Keeps what was sent, in order: each message and whether it went to the bulk queue."""

    sent: list[tuple[Message, bool]] = field(default_factory=list)

    def send(self, message: Message, *, bulk: bool) -> None:
        self.sent.append((message, bulk))
