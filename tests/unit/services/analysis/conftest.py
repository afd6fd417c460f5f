"""An analysis over shipped fakes, all of them at hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from chalicelib.errors import StorageUnavailable
from chalicelib.services.analysis import GATEWAY_SECONDS, AnalysisService
from chalicelib.services.intake import IntakeService
from chalicelib.services.reading import Reader
from chalicelib.services.timing import Deadline, Stopwatch
from tests.fakes.clock import FixedClock
from tests.fakes.inference import FakeClassifier, FakeDecoder, FakeGate
from tests.fakes.intake import FakeIntake, InMemorySourceStore
from tests.fakes.jobs import FakeJobQueue, FakeJobStore
from tests.fakes.reports import InMemoryDocumentStore, PlainReportWriter
from tests.fakes.tenants import FakeLedger, FakeStudyStore

if TYPE_CHECKING:
    from chalicelib.domain import Caller, Study

IMAGE = b"an image"


class BrokenStudyStore(FakeStudyStore):
    """Cannot be reached when it comes to writing."""

    def add(self, caller: Caller, study: Study) -> None:
        raise StorageUnavailable("The table does not answer.")


@dataclass
class Bench:
    """A service over fakes, all of them at hand."""

    clock: FixedClock = field(default_factory=FixedClock)
    gate: FakeGate = field(default_factory=FakeGate)
    classifier: FakeClassifier = field(default_factory=FakeClassifier)
    decoder: FakeDecoder = field(default_factory=FakeDecoder)
    writer: PlainReportWriter = field(default_factory=PlainReportWriter)
    importing: float = 0.0  # seconds

    def __post_init__(self) -> None:
        self.ledger = FakeLedger(self.clock)
        self.documents = InMemoryDocumentStore(self.clock)
        self.studies = FakeStudyStore(self.ledger)
        self.sources = InMemorySourceStore(self.clock)
        self.queue = FakeJobQueue()

    def analyse(
        self, caller: Caller, body: bytes = IMAGE, seconds: float = GATEWAY_SECONDS
    ) -> Study:
        deadline = Deadline(seconds, self.clock.monotonic)
        return self.service().analyse(caller, body, Stopwatch(), deadline, "r-1")

    def service(self) -> AnalysisService:
        jobs = FakeJobStore(self.studies, self.ledger, self.clock)
        return AnalysisService(
            reader=self.reader,
            documents=self.documents,
            studies=self.studies,
            ledger=self.ledger,
            intake=IntakeService(
                sources=self.sources,
                intake=FakeIntake(self.studies, self.ledger, jobs, self.clock),
                jobs=jobs,
                queue=self.queue,
                ledger=self.ledger,
                clock=self.clock,
            ),
            clock=self.clock,
        )

    def reader(self) -> Reader:
        self.clock.advance(self.importing)
        return Reader(self.decoder, self.gate, self.classifier, self.writer)

    def used(self, caller: Caller) -> int:
        return FakeLedger.usage(self.ledger, caller.client).used

    def stored(self, caller: Caller) -> int:
        return len(self.studies.page(caller.client.id, 100, None, None).items)


@pytest.fixture
def bench() -> Bench:
    return Bench()
