"""Documents and studies that cannot be stored, or not in time: what is left of them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from chalicelib.errors import QuotaExceeded, StorageUnavailable
from chalicelib.services.analysis import AFTER_DOCUMENTS, GATEWAY_SECONDS
from chalicelib.services.timing import AFTER_STORING
from tests.fakes.intake import InMemorySourceStore
from tests.fakes.reports import InMemoryDocumentStore, PlainReportWriter
from tests.fakes.tenants import FakeStudyStore
from tests.fakes.values import a_caller
from tests.unit.services.analysis.conftest import Bench, BrokenStudyStore
from tests.unit.services.conftest import ForgetfulLedger, caller_with

if TYPE_CHECKING:
    from chalicelib.domain import Caller, Study
    from tests.fakes.clock import FixedClock


class LimpingDocumentStore(InMemoryDocumentStore):
    """Stores one document, and the next without saying so; erases none when it is `stuck`."""

    stuck = False

    def put(self, client_id: str, study_id: str, name: str, body: bytes) -> None:
        full = len(self) > 0
        super().put(client_id, study_id, name, body)
        if full:
            raise StorageUnavailable("The report storage does not answer.")

    def delete(self, client_id: str, study_id: str, name: str) -> None:
        if self.stuck:
            raise StorageUnavailable("The report storage does not answer.")
        super().delete(client_id, study_id, name)


@pytest.mark.parametrize("stuck", [False, True])
def test_a_document_that_cannot_be_stored_takes_the_others_with_it(
    bench: Bench,
    stuck: bool,  # noqa: FBT001
) -> None:
    caller = a_caller()
    bench.documents = LimpingDocumentStore(bench.clock)
    bench.documents.stuck = stuck
    with pytest.raises(StorageUnavailable):
        bench.analyse(caller)
    assert (len(bench.documents), bench.stored(caller), bench.used(caller)) == (2 * stuck, 0, 0)


def test_a_refusal_stays_a_refusal_when_documents_cannot_be_erased(bench: Bench) -> None:
    class Stuck(InMemoryDocumentStore):
        def delete(self, client_id: str, study_id: str, name: str) -> None:
            raise StorageUnavailable("The report storage does not answer.")

    caller = caller_with(units=1)
    bench.ledger = ForgetfulLedger(bench.clock)
    bench.studies = FakeStudyStore(bench.ledger)
    bench.analyse(caller)
    bench.documents = Stuck(bench.clock)
    with pytest.raises(QuotaExceeded):
        bench.analyse(caller)


def test_documents_stay_when_the_store_may_have_taken_the_study(bench: Bench) -> None:
    bench.studies = BrokenStudyStore(bench.ledger)
    with pytest.raises(StorageUnavailable):
        bench.analyse(a_caller())
    assert len(bench.documents) == 2


class SlowWriter(PlainReportWriter):
    """Leaves so many seconds of the request's time when the report is written."""

    def __init__(self, clock: FixedClock, left: float) -> None:
        self._clock = clock
        self._takes = GATEWAY_SECONDS - left

    def write(self, *args: object, **named: object) -> bytes:
        self._clock.advance(self._takes)
        self._takes = 0.0
        return super().write(*args, **named)  # type: ignore[arg-type]


class HangingDocumentStore(InMemoryDocumentStore):
    """Stores nothing, and erases nothing, until it is let go; but it notes who has come."""

    def __init__(self, now: FixedClock) -> None:
        super().__init__(now)
        self.let_go = threading.Event()
        self.come: list[str] = []

    def put(self, client_id: str, study_id: str, name: str, body: bytes) -> None:
        self.come.append(name)
        self.let_go.wait(30)
        super().put(client_id, study_id, name, body)

    def delete(self, client_id: str, study_id: str, name: str) -> None:
        self.let_go.wait(30)
        super().delete(client_id, study_id, name)


class HangingStudyStore(FakeStudyStore):
    """Stores a study once it is let go."""

    let_go = threading.Event()

    def add(self, caller: Caller, study: Study) -> None:
        self.let_go.wait(30)
        super().add(caller, study)


def test_documents_are_not_waited_for_longer_than_there_is_time(bench: Bench) -> None:
    caller, bench.documents = a_caller(), HangingDocumentStore(bench.clock)
    bench.writer = SlowWriter(bench.clock, AFTER_DOCUMENTS + 0.05)
    began = time.monotonic()
    with pytest.raises(StorageUnavailable):
        bench.analyse(caller)
    assert time.monotonic() - began < AFTER_DOCUMENTS + 0.5
    assert len(bench.documents.come) == 2, "they are stored beside each other"
    assert (bench.stored(caller), bench.used(caller), bench.queue.sent) == (0, 0, [])
    assert bench.classifier.predictions == 1
    # What comes too late is of no study: it goes again.
    bench.documents.let_go.set()
    for _ in range(100):
        if not len(bench.documents):
            time.sleep(0.01)
    assert len(bench.documents) == 0


def test_documents_are_not_begun_without_time(bench: Bench) -> None:
    bench.documents = HangingDocumentStore(bench.clock)
    bench.writer = SlowWriter(bench.clock, AFTER_DOCUMENTS)
    bench.documents.let_go.set()
    with pytest.raises(StorageUnavailable):
        bench.analyse(a_caller())
    assert bench.documents.come == []


def test_a_table_that_hangs_is_not_waited_for_longer_than_there_is_time(bench: Bench) -> None:
    bench.studies = HangingStudyStore(bench.ledger)
    bench.writer = SlowWriter(bench.clock, AFTER_DOCUMENTS + 0.05)
    began = time.monotonic()
    with pytest.raises(StorageUnavailable):
        bench.analyse(a_caller())
    assert time.monotonic() - began < AFTER_DOCUMENTS + 0.5
    # It may be stored after all, so its documents stay.
    assert len(bench.documents) == 2
    bench.studies.let_go.set()


def test_a_queue_that_hangs_is_not_waited_for_longer_than_there_is_time(bench: Bench) -> None:
    class Hanging(InMemorySourceStore):
        let_go = threading.Event()

        def put(self, object_name: str, body: bytes) -> None:
            self.let_go.wait(30)

    bench.sources = Hanging(bench.clock)
    began = time.monotonic()
    with pytest.raises(StorageUnavailable):
        bench.analyse(a_caller(), seconds=AFTER_STORING + 0.1)
    assert time.monotonic() - began < 1
    bench.sources.let_go.set()
