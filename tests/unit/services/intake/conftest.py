"""Taking studies in over shipped fakes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from chalicelib.domain import Caller, Idempotency, Job, Message, Study
from chalicelib.errors import StorageUnavailable
from chalicelib.services.intake import IntakeService
from tests.fakes.clock import FixedClock
from tests.fakes.intake import FakeIntake, InMemorySourceStore
from tests.fakes.jobs import FakeJobQueue, FakeJobStore
from tests.fakes.tenants import FakeLedger, FakeStudyStore

if TYPE_CHECKING:
    from chalicelib.domain import UploadForm

IMAGE = b"\x89PNG an image"


class LateIntake(FakeIntake):
    """Knows no key when it is asked first, as one that races another request with it."""

    def known(self, client_id: str, idempotency: Idempotency) -> Study | None:
        return super().known(client_id, idempotency) if self._lock.locked() else None


class BrokenIntake(FakeIntake):
    """Cannot be reached when it comes to writing."""

    def enqueue(
        self,
        caller: Caller,
        study: Study,
        job: Job,
        idempotency: Idempotency | None = None,
        upload_id: str | None = None,
    ) -> Study:
        raise StorageUnavailable("The table does not answer.")


class SilentQueue(FakeJobQueue):
    """Cannot be reached."""

    def send(self, message: Message, *, bulk: bool) -> None:
        raise StorageUnavailable("The queue does not answer.")


@dataclass
class Bench:
    """A service over fakes, all of them at hand."""

    clock: FixedClock = field(default_factory=FixedClock)
    queue: FakeJobQueue = field(default_factory=FakeJobQueue)
    ledger_type: type[FakeLedger] = FakeLedger
    intake_type: type[FakeIntake] = FakeIntake

    def __post_init__(self) -> None:
        self.ledger = self.ledger_type(self.clock)
        self.studies = FakeStudyStore(self.ledger)
        self.jobs = FakeJobStore(self.studies, self.ledger, self.clock)
        self.sources = InMemorySourceStore(self.clock)
        self.intake = self.intake_type(self.studies, self.ledger, self.jobs, self.clock)
        self.service = IntakeService(
            sources=self.sources,
            intake=self.intake,
            jobs=self.jobs,
            queue=self.queue,
            ledger=self.ledger,
            clock=self.clock,
        )

    def left(self, caller: Caller) -> tuple[int, int, int, int]:
        """Return how many studies, units, jobs and objects there are."""
        return (
            len(self.studies.page(caller.client.id, 100, None, None).items),
            FakeLedger.usage(self.ledger, caller.client).used,
            len(self.jobs.jobs),
            len(self.sources.objects),
        )

    def upload(self, caller: Caller, body: bytes = IMAGE) -> UploadForm:
        form = self.service.open_upload(caller, len(body), "application/dicom")
        assert self.sources.post(form, body)
        return form


@pytest.fixture
def bench() -> Bench:
    return Bench()


def a_word(key: str = "once", request: str = "a") -> Idempotency:
    return Idempotency(key=key, fingerprint=request * 64)
