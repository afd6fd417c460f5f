"""The worker over fakes, which break where a test wants them to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.errors import StorageUnavailable
from chalicelib.problems import defect_problem, problem_of
from chalicelib.services.ending import Endings
from chalicelib.services.intake import IntakeService
from chalicelib.services.reading import Reader
from chalicelib.services.worker import WorkerService
from tests.fakes.clock import FixedClock
from tests.fakes.deliveries import FakeOutbox
from tests.fakes.inference import FakeClassifier, FakeDecoder, FakeGate
from tests.fakes.intake import FakeIntake, InMemorySourceStore
from tests.fakes.jobs import FakeJobQueue, FakeJobStore
from tests.fakes.operations import FakeMonitor
from tests.fakes.reports import InMemoryDocumentStore, PlainReportWriter
from tests.fakes.tenants import FakeDirectory, FakeLedger, FakeStudyStore
from tests.fakes.values import NOON, a_caller, a_client, a_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from chalicelib.domain import Client, Prediction, Radiograph, Study
    from chalicelib.errors import RadgateError
    from chalicelib.ports import Clock

IMAGE = b"an image"
REQUEST = "11111111-2222-4333-8444-555555555555"


def explain(error: RadgateError | None, request_id: str) -> dict[str, str | int | list[str]]:
    problem = defect_problem() if error is None else problem_of(error)
    return dict(json.loads(problem.body(request_id)))


class BrittleClassifier(FakeClassifier):
    """Cannot answer an image that says so, alone or among others."""

    def predict_many(self, radiographs: Sequence[Radiograph]) -> tuple[Prediction, ...]:
        if any(one.info.width == 13 for one in radiographs):
            raise ValueError("cannot answer this")
        return super().predict_many(radiographs)


class OddDecoder(FakeDecoder):
    """Takes `odd` bytes for an image 13 pixels wide, and `fatal` ones end the process."""

    def decode(self, body: bytes) -> Radiograph:
        if body.startswith(b"fatal"):
            raise KeyboardInterrupt
        radiograph = super().decode(body)
        if not body.startswith(b"odd"):
            return radiograph
        info = radiograph.info.model_copy(update={"width": 13})
        return type(radiograph)(info, bytes(13 * 4), radiograph.maxval)


class FlakySources(InMemorySourceStore):
    """Fails as often as it is told."""

    failures = 0

    def get(self, object_name: str) -> bytes:
        if self.failures:
            self.failures -= 1
            raise StorageUnavailable("The image storage does not answer.")
        return super().get(object_name)


class Overtaken(InMemoryDocumentStore):
    """Lets something happen at one moment: before the given call of the given kind."""

    def __init__(self, now: Clock, moment: str, happens: Callable[[], None]) -> None:
        super().__init__(now)
        self._moment: str | None = moment
        self._happens = happens

    def states(self, *args: Any) -> dict[str, str]:
        seen = super().states(*args)
        self._at("looked")
        return seen

    def put_over(self, *args: Any) -> bool:
        self._at("proven")
        stored = super().put_over(*args)
        self._at("stored")
        return stored

    def _at(self, moment: str) -> None:
        if moment == self._moment:
            self._moment = None
            self._happens()


@dataclass
class Bench:
    """A worker with fakes, and the way that studies come to it."""

    clock: FixedClock = field(default_factory=lambda: FixedClock(NOON))
    classifier: BrittleClassifier = field(default_factory=BrittleClassifier)
    gate: FakeGate = field(default_factory=FakeGate)
    monitor: FakeMonitor = field(default_factory=FakeMonitor)
    queue: FakeJobQueue = field(default_factory=FakeJobQueue)
    max_pixel_bytes: int = 1000

    def __post_init__(self) -> None:
        self.ledger = FakeLedger(self.clock)
        self.studies = FakeStudyStore(self.ledger)
        self.jobs = FakeJobStore(self.studies, self.ledger, self.clock)
        self.sources = FlakySources(self.clock)
        self.outbox = FakeOutbox(self.clock)
        self.directory = FakeDirectory()
        self.client = a_client(mail=True, webhook="https://acme.example/hook")
        self.directory.put(self.client)
        intake = FakeIntake(self.studies, self.ledger, self.jobs, self.clock)
        self.spent = intake.spent
        self.intake = IntakeService(
            self.sources, intake, self.jobs, self.queue, self.ledger, self.clock
        )
        self.reader = Reader(OddDecoder(), self.gate, self.classifier, PlainReportWriter())
        self.keep_documents(InMemoryDocumentStore(self.clock))

    def keep_documents(self, documents: InMemoryDocumentStore) -> None:
        """Make the worker, with documents kept here."""
        self.documents = documents
        endings = Endings(
            jobs=self.jobs,
            studies=self.studies,
            directory=self.directory,
            documents=self.documents,
            sources=self.sources,
            outbox=self.outbox,
            explain=explain,
            monitor=self.monitor,
            clock=self.clock,
        )
        self.worker = WorkerService(
            jobs=self.jobs,
            directory=self.directory,
            sources=self.sources,
            reader=lambda: self.reader,
            endings=endings,
            monitor=self.monitor,
            clock=self.clock,
            max_pixel_bytes=self.max_pixel_bytes,
        )

    def enqueue(self, *bodies: bytes, client: Client | None = None, mode: str = "live") -> None:
        client = client or self.client
        key = a_key(client.id, mode="test" if mode == "test" else "live")
        for body in bodies:
            self.intake.enqueue(a_caller(client, key), body, request_id=REQUEST)

    def work(self) -> tuple[timedelta | None, ...]:
        """Work on all messages that were ever sent."""
        return self.worker.work([message for message, _ in self.queue.sent])

    def all(self) -> list[Study]:
        return [self.studies.get(m.client_id, m.study_id) for m, _ in self.queue.sent]

    def used(self) -> int:
        return self.ledger.usage(self.client).used

    def told(self) -> list[tuple[str, str]]:
        return [(one.kind, one.channel) for one in self.outbox.sent]


@pytest.fixture
def bench() -> Bench:
    return Bench()
