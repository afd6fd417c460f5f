"""The main job over shipped fakes: what is stored, what is metered, and what a failure leaves."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace

import pytest

from chalicelib.domain import (
    Caller,
    Client,
    Quality,
    Radiograph,
    Study,
    StudyStatus,
    Usage,
)
from chalicelib.errors import (
    ModelUnavailable,
    NotAChestXray,
    NotFound,
    QuotaExceeded,
    RadgateError,
    StorageUnavailable,
    UnreadableImage,
)
from chalicelib.services.analysis import (
    AFTER_DECODING,
    AFTER_DOCUMENTS,
    AFTER_GATE,
    AFTER_LOADING,
    GATEWAY_SECONDS,
    AnalysisService,
)
from chalicelib.services.intake import IntakeService
from chalicelib.services.reading import Reader
from chalicelib.services.timing import AFTER_STORING, Deadline, Stopwatch
from tests.fakes.clock import FixedClock
from tests.fakes.inference import FakeClassifier, FakeDecoder, FakeGate
from tests.fakes.intake import FakeIntake, InMemorySourceStore
from tests.fakes.jobs import FakeJobQueue, FakeJobStore
from tests.fakes.reports import InMemoryDocumentStore, PlainReportWriter
from tests.fakes.tenants import FakeLedger, FakeStudyStore
from tests.fakes.values import a_caller, a_client, a_key, a_plan

IMAGE = b"an image"


class ForgetfulLedger(FakeLedger):
    """Says before the work that units are left, as a read does that races others."""

    def usage(self, client: Client) -> Usage:
        return super().usage(client).model_copy(update={"used": 0})


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


def caller_with(units: int) -> Caller:
    return a_caller(a_client(plan=a_plan(studies=units)))


def test_a_study_is_stored_metered_and_has_a_report(bench: Bench) -> None:
    caller = a_caller()
    study = bench.analyse(caller)
    assert study.status is StudyStatus.SUCCEEDED
    assert study.label == "Cardiomegaly"
    assert study.report is not None
    assert bench.documents.fetch(study.report.url) is not None
    assert bench.studies.get(caller.client.id, study.id) == study.model_copy(
        update={"report": None, "heatmaps": ()}
    )
    assert bench.used(caller) == 1


def test_every_positive_finding_has_a_heatmap_to_fetch(bench: Bench) -> None:
    (heatmap,) = bench.analyse(a_caller()).heatmaps
    assert (heatmap.label, heatmap.media_type) == ("Cardiomegaly", "image/png")
    assert bench.documents.fetch(heatmap.url) == b"PNG of Cardiomegaly for 4 pixels"


def test_every_part_is_timed_in_order(bench: Bench) -> None:
    stopwatch = Stopwatch()
    bench.service().analyse(a_caller(), IMAGE, stopwatch, Deadline(GATEWAY_SECONDS))
    assert list(stopwatch.milliseconds()) == ["decode", "gate", "predict", "report", "store"]


def test_a_negative_image_is_no_finding(bench: Bench) -> None:
    bench.classifier.probability = 0.2
    study = bench.analyse(a_caller())
    assert study.label == "No finding"
    assert study.heatmaps == ()


def test_a_test_key_runs_the_whole_path_and_meters_nothing(bench: Bench) -> None:
    caller = a_caller(key=a_key(mode="test"))
    assert bench.analyse(caller).mode == "test"
    assert (bench.stored(caller), bench.used(caller)) == (1, 0)


def test_a_test_key_works_on_when_all_units_are_used(bench: Bench) -> None:
    live = caller_with(units=1)
    bench.analyse(live)
    assert bench.analyse(a_caller(live.client, a_key(mode="test"))).mode == "test"


REFUSED = Quality(accepted=False, score=0.1, reasons=("blank",))


@pytest.mark.parametrize(
    ("bench", "body", "error"),
    [
        pytest.param(Bench(), b"broken", UnreadableImage, id="unreadable"),
        pytest.param(Bench(gate=FakeGate(REFUSED)), IMAGE, NotAChestXray, id="no chest"),
        pytest.param(
            Bench(classifier=FakeClassifier(working=False)), IMAGE, ModelUnavailable, id="no model"
        ),
    ],
)
def test_what_fails_before_the_end_leaves_nothing(
    bench: Bench, body: bytes, error: type[RadgateError]
) -> None:
    caller = a_caller()
    with pytest.raises(error):
        bench.analyse(caller, body)
    assert (bench.stored(caller), bench.used(caller), len(bench.documents)) == (0, 0, 0)


def test_a_refusal_by_the_gate_names_its_reasons(bench: Bench) -> None:
    bench.gate.quality = Quality(accepted=False, score=0.0, reasons=("not_a_chest", "blank"))
    with pytest.raises(NotAChestXray, match="not_a_chest, blank"):
        bench.analyse(a_caller())


def test_a_client_may_have_doubtful_images_analysed_with_a_warning(bench: Bench) -> None:
    bench.gate.quality = REFUSED
    study = bench.analyse(a_caller(a_client(gate_policy="warn")))
    assert study.status is StudyStatus.SUCCEEDED
    assert study.quality == REFUSED


def test_without_units_nothing_is_computed(bench: Bench) -> None:
    caller = caller_with(units=1)
    bench.analyse(caller)
    with pytest.raises(QuotaExceeded) as refusal:
        bench.analyse(caller)
    assert bench.classifier.predictions == 1
    # FixedClock stands at 2026-03-14 09:26:53; the month ends on the 1st of April.
    assert refusal.value.retry_after == ((17 * 24 + 14) * 60 + 33) * 60 + 7


def test_the_loser_of_a_race_for_the_last_unit_keeps_no_document(bench: Bench) -> None:
    caller = caller_with(units=1)
    bench.ledger = ForgetfulLedger(bench.clock)
    bench.studies = FakeStudyStore(bench.ledger)
    bench.analyse(caller)
    with pytest.raises(QuotaExceeded):
        bench.analyse(caller)
    assert (bench.stored(caller), bench.used(caller), len(bench.documents)) == (1, 1, 2)


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


def test_a_stored_study_is_another_clients_mystery(bench: Bench) -> None:
    study = bench.analyse(a_caller())
    with pytest.raises(NotFound):
        bench.studies.get("other", study.id)


# --- the gateway's time limit -----------------------------------------------------------


@dataclass
class SlowClassifier(FakeClassifier):
    """Lets the time pass that loading takes."""

    clock: FixedClock = field(default_factory=FixedClock)

    def warm(self, timeout: float) -> bool:
        self.clock.advance(min(timeout, self.loading))
        return super().warm(timeout)


@dataclass
class SlowGate(FakeGate):
    """Lets time pass before it answers."""

    clock: FixedClock = field(default_factory=FixedClock)
    seconds: float = 0.0

    def judge(self, radiograph: Radiograph) -> Quality:
        self.clock.advance(self.seconds)
        return super().judge(radiograph)


class SlowDecoder(FakeDecoder):
    """Lets time pass before it answers."""

    def __init__(self, clock: FixedClock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds

    def decode(self, body: bytes) -> Radiograph:
        self._clock.advance(self._seconds)
        return super().decode(body)


class HangingDecoder(FakeDecoder):
    """Answers once it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def decode(self, body: bytes) -> Radiograph:
        self.let_go.wait(30)
        return super().decode(body)


def slow_bench(*, loading: float = 0.0, decoding: float = 0.0, judging: float = 0.0) -> Bench:
    clock = FixedClock()
    return Bench(
        clock=clock,
        gate=SlowGate(clock=clock, seconds=judging),
        classifier=SlowClassifier(clock=clock, loading=loading),
        decoder=SlowDecoder(clock, decoding),
    )


def assert_queued(bench: Bench, caller: Caller, study: Study) -> None:
    """Hold a study to be queued as `POST /studies` would have, and nothing to be predicted."""
    assert study.status is StudyStatus.QUEUED
    assert bench.studies.get(caller.client.id, study.id) == study
    assert list(bench.sources.objects.values()) == [IMAGE]
    assert [message.study_id for message, _ in bench.queue.sent] == [study.id]
    assert (bench.stored(caller), bench.used(caller), len(bench.documents)) == (1, 1, 0)
    assert bench.classifier.predictions == 0


def test_a_pack_that_loads_in_time_answers() -> None:
    bench = slow_bench(loading=GATEWAY_SECONDS - AFTER_LOADING)
    study = bench.analyse(a_caller())
    assert study.status is StudyStatus.SUCCEEDED
    assert (bench.classifier.predictions, len(bench.queue.sent)) == (1, 0)


def test_a_pack_that_takes_too_long_makes_a_queued_study() -> None:
    bench, caller = slow_bench(loading=GATEWAY_SECONDS - AFTER_LOADING + 0.1), a_caller()
    began = bench.clock()
    assert_queued(bench, caller, bench.analyse(caller))
    waited = (bench.clock() - began).total_seconds()
    assert waited <= GATEWAY_SECONDS - AFTER_LOADING


def test_the_next_request_finds_the_pack_further() -> None:
    bench, caller = slow_bench(loading=30), a_caller()
    assert bench.analyse(caller).status is StudyStatus.QUEUED
    assert bench.analyse(caller).status is StudyStatus.SUCCEEDED


def test_an_image_that_decodes_too_slowly_is_queued() -> None:
    caller = a_caller()
    in_time = slow_bench(decoding=GATEWAY_SECONDS - AFTER_DECODING)
    assert in_time.analyse(caller).status is StudyStatus.SUCCEEDED
    too_late = slow_bench(decoding=GATEWAY_SECONDS - AFTER_DECODING + 0.1)
    assert_queued(too_late, caller, too_late.analyse(caller))


def test_a_decoder_that_hangs_is_not_waited_for(bench: Bench) -> None:
    caller, bench.decoder = a_caller(), HangingDecoder()
    study = bench.analyse(caller, seconds=AFTER_DECODING + 0.05)
    assert_queued(bench, caller, study)
    bench.decoder.let_go.set()


def test_a_request_that_came_late_is_queued_at_once(bench: Bench) -> None:
    caller = a_caller()
    assert_queued(bench, caller, bench.analyse(caller, seconds=AFTER_DECODING - 0.1))


def test_an_image_that_is_judged_too_slowly_is_queued() -> None:
    caller = a_caller()
    in_time = slow_bench(judging=GATEWAY_SECONDS - AFTER_GATE)
    assert in_time.analyse(caller).status is StudyStatus.SUCCEEDED
    assert (in_time.classifier.predictions, in_time.queue.sent) == (1, [])
    too_late = slow_bench(judging=GATEWAY_SECONDS - AFTER_GATE + 0.1)
    assert_queued(too_late, caller, too_late.analyse(caller))


def test_without_any_time_left_nothing_is_stored_that_nobody_hears_of(bench: Bench) -> None:
    caller = a_caller()
    with pytest.raises(StorageUnavailable):
        bench.analyse(caller, seconds=AFTER_STORING)
    assert (bench.stored(caller), bench.used(caller), bench.sources.objects) == (0, 0, {})


# --- a storage that is slow once the prediction was made ------------------------------------


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


def test_packages_that_are_imported_too_late_queue_the_study(bench: Bench) -> None:
    bench.importing = GATEWAY_SECONDS - AFTER_DECODING + 0.1
    study = bench.analyse(a_caller())
    assert study.status is StudyStatus.QUEUED
    assert [message.study_id for message, _ in bench.queue.sent] == [study.id]


def test_packages_that_hang_are_not_waited_for_longer_than_there_is_time(bench: Bench) -> None:
    let_go = threading.Event()

    def hanging() -> Reader:
        let_go.wait(30)
        return bench.reader()

    service = replace(bench.service(), reader=hanging)
    began = time.monotonic()
    deadline = Deadline(AFTER_LOADING + 0.2)
    study = service.analyse(a_caller(), IMAGE, Stopwatch(), deadline, "r-1")
    assert time.monotonic() - began < 2
    assert study.status is StudyStatus.QUEUED
    let_go.set()


def test_a_pack_that_cannot_be_loaded_is_not_waited_for_in_the_queue(bench: Bench) -> None:
    bench.classifier.working = False
    with pytest.raises(ModelUnavailable):
        bench.analyse(a_caller())
    assert (bench.stored(a_caller()), bench.queue.sent) == (0, [])


def test_without_units_nothing_is_queued() -> None:
    bench, caller = slow_bench(loading=99), caller_with(units=1)
    bench.analyse(caller)
    with pytest.raises(QuotaExceeded):
        bench.analyse(caller)
    assert (bench.stored(caller), len(bench.sources.objects)) == (1, 1)
