"""Erasing over shipped fakes: nothing but the tombstone is left, wherever a try breaks off."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from chalicelib.domain import Caller, Message, Study, StudyStatus
from chalicelib.errors import NotFound, StorageUnavailable
from chalicelib.services.erasure import ErasureService
from chalicelib.services.intake import IntakeService
from tests.fakes.clock import FixedClock
from tests.fakes.intake import FakeErasure, FakeIntake, InMemorySourceStore
from tests.fakes.jobs import FakeJobQueue, FakeJobStore
from tests.fakes.reports import InMemoryDocumentStore
from tests.fakes.tenants import FakeLedger, FakeStudyStore
from tests.fakes.values import a_caller, a_study

NAMES = ("report.pdf", "heatmap-cardiomegaly.png", "heatmap-effusion.png")


class FailingDocuments(InMemoryDocumentStore):
    """Fails so many times before it works."""

    failures = 0

    def delete_all(self, client_id: str, study_id: str) -> None:
        if self.failures:
            self.failures -= 1
            raise StorageUnavailable("The report storage does not answer.")
        super().delete_all(client_id, study_id)


class FailingSources(InMemorySourceStore):
    """Fails so many times before it works."""

    failures = 0

    def delete(self, object_name: str) -> None:
        if self.failures:
            self.failures -= 1
            raise StorageUnavailable("The image storage does not answer.")
        super().delete(object_name)


@dataclass
class Bench:
    clock: FixedClock = field(default_factory=FixedClock)

    def __post_init__(self) -> None:
        self.ledger = FakeLedger(self.clock)
        self.studies = FakeStudyStore(self.ledger)
        self.jobs = FakeJobStore(self.studies, self.ledger, self.clock)
        self.sources = FailingSources(self.clock)
        self.documents = FailingDocuments(self.clock)
        intake = FakeIntake(self.studies, self.ledger, self.jobs, self.clock)
        self.queue = FakeJobQueue()
        self.intake = IntakeService(
            sources=self.sources,
            intake=intake,
            jobs=self.jobs,
            queue=self.queue,
            ledger=self.ledger,
            clock=self.clock,
        )
        erasure = FakeErasure(self.studies, self.jobs, self.clock)
        self.service = ErasureService(erasure, self.documents, self.sources)

    def queued(self, caller: Caller) -> Study:
        return self.intake.enqueue(caller, b"\x89PNG an image")

    def running(self, caller: Caller) -> Study:
        study = self.queued(caller)
        assert self.jobs.begin(caller.client.id, study.id) is not None
        self.store_documents(study)
        return study

    def finished(self, caller: Caller, status: StudyStatus = StudyStatus.SUCCEEDED) -> Study:
        study = self.queued(caller)
        job = self.jobs.begin(caller.client.id, study.id)
        assert job is not None
        self.store_documents(study)
        done = a_study(id=study.id, status=status, created_at=study.created_at)
        assert self.jobs.finish(job, done)
        return study

    def failed(self, caller: Caller) -> Study:
        return self.finished(caller, StudyStatus.FAILED)

    def store_documents(self, study: Study) -> None:
        for name in NAMES:
            self.documents.put("acme", study.id, name, b"content")

    def objects(self) -> int:
        return len(self.documents) + len(self.sources.objects)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("state", ["queued", "running", "finished", "failed"])
def test_a_study_of_any_state_leaves_a_tombstone_and_its_unit(bench: Bench, state: str) -> None:
    caller = a_caller()
    study = getattr(bench, state)(caller)
    bench.service.erase("acme", study.id)
    left = bench.studies.get("acme", study.id)
    assert left == Study(id=study.id, status=StudyStatus.DELETED, created_at=study.created_at)
    assert bench.objects() == 0
    assert bench.ledger.usage(caller.client).used == 1


@pytest.mark.parametrize("state", ["queued", "finished", "failed"])
def test_no_job_is_left(bench: Bench, state: str) -> None:
    study = getattr(bench, state)(a_caller())
    bench.service.erase("acme", study.id)
    assert bench.jobs.jobs == {}


def test_what_a_worker_stores_after_the_erasure_is_erased_when_its_lease_is_over(
    bench: Bench,
) -> None:
    study = bench.running(a_caller())
    bench.service.erase("acme", study.id)
    bench.store_documents(study)
    bench.clock.advance(200)
    [job] = bench.jobs.stuck(bench.clock())
    bench.service.erase(job.client_id, job.study_id)
    assert bench.objects() == 0
    assert bench.jobs.jobs == {}


def test_erasing_again_is_no_error(bench: Bench) -> None:
    study = bench.finished(a_caller())
    for _ in range(3):
        bench.service.erase("acme", study.id)
    assert bench.jobs.jobs == {}


@pytest.mark.parametrize("state", ["queued", "finished"])
@pytest.mark.parametrize("broken", ["documents", "sources"])
def test_a_try_that_breaks_off_is_found_and_finished(bench: Bench, state: str, broken: str) -> None:
    study = getattr(bench, state)(a_caller())
    getattr(bench, broken).failures = 1
    with pytest.raises(StorageUnavailable):
        bench.service.erase("acme", study.id)
    assert bench.studies.get("acme", study.id).status is StudyStatus.DELETED
    bench.clock.advance(600)
    [job] = bench.jobs.stuck(bench.clock())
    bench.service.erase(job.client_id, job.study_id)
    assert bench.objects() == 0
    assert bench.jobs.jobs == {}


def test_a_message_for_an_erased_study_finds_nothing_to_do(bench: Bench) -> None:
    study = bench.queued(a_caller())
    bench.service.erase("acme", study.id)
    assert bench.queue.sent == [(Message(client_id="acme", study_id=study.id), False)]
    assert bench.jobs.begin("acme", study.id) is None


def test_only_ones_own_study_can_be_erased(bench: Bench) -> None:
    study = bench.finished(a_caller())
    for client_id, study_id in (("other", study.id), ("acme", "st_01JD8Z5M3Q4R6S7T8V9W0XYZAB")):
        with pytest.raises(NotFound):
            bench.service.erase(client_id, study_id)
    assert bench.studies.get("acme", study.id).status is StudyStatus.SUCCEEDED
    assert len(bench.documents) == len(NAMES)
