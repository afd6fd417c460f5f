"""The sweeper over fakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chalicelib.services.erasure import ErasureService
from chalicelib.services.expiring import RetentionService
from chalicelib.services.sweeper import SweeperService
from chalicelib.services.timing import Deadline
from tests.fakes.deliveries import FakeDeliveryStore
from tests.fakes.intake import FakeErasure
from tests.fakes.operations import FakeRetentionStore, FakeStudyFolders
from tests.unit.services.worker.conftest import Bench

if TYPE_CHECKING:
    from datetime import timedelta

    from chalicelib.domain import Job, Message, Study


class Yard(Bench):
    """A worker's bench with a sweeper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.deliveries = FakeDeliveryStore()
        self.erasure = ErasureService(
            FakeErasure(self.studies, self.jobs, self.clock), self.documents, self.sources
        )
        self.expiry = RetentionService(
            store=FakeRetentionStore(self.directory, self.studies),
            folders=FakeStudyFolders(self.documents),
            erasure=self.erasure,
            monitor=self.monitor,
            clock=self.clock,
        )
        self.sweeper = SweeperService(
            jobs=self.jobs,
            queue=self.queue,
            deliveries=self.deliveries,
            outbox=self.outbox,
            uploads=self.spent,
            sources=self.sources,
            retention=self.expiry,
            erasure=self.erasure,
            endings=self.worker.endings,
            monitor=self.monitor,
            clock=self.clock,
        )

    def sweep(self, seconds: float = 50) -> dict[str, float]:
        facts = self.sweeper.sweep(Deadline(seconds, self.clock.monotonic)).facts()
        return {name: number for name, number in facts.items() if number}

    def wait(self, time: timedelta) -> None:
        self.clock.advance(time.total_seconds())

    def rung(self) -> list[Message]:
        """Return what was sent since this was last asked."""
        messages = [message for message, _ in self.queue.sent]
        self.queue.sent.clear()
        return messages

    def the_job(self) -> Job:
        [job] = self.jobs.jobs.values()
        return job

    def the_study(self) -> Study:
        job = self.the_job()
        return self.studies.get(job.client_id, job.study_id)


@pytest.fixture
def yard() -> Yard:
    return Yard()
