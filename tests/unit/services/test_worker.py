"""The worker against fakes: whatever happens to one study, it ends once and harms no other."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.domain import LEASE, MAX_ATTEMPTS, Message, Quality, StudyStatus
from chalicelib.errors import ModelUnavailable, NotFound, StorageUnavailable
from chalicelib.problems import defect_problem, problem_of
from chalicelib.services.ending import Endings
from chalicelib.services.erasure import ErasureService
from chalicelib.services.intake import IntakeService
from chalicelib.services.reading import Reader
from chalicelib.services.studies import StudyService
from chalicelib.services.worker import AT_ONCE, RETRY, WorkerService
from tests.fakes.clock import FixedClock
from tests.fakes.deliveries import FakeOutbox
from tests.fakes.inference import NEWER_FACTS, FakeClassifier, FakeDecoder, FakeGate
from tests.fakes.intake import FakeErasure, FakeIntake, InMemorySourceStore
from tests.fakes.jobs import FakeJobQueue, FakeJobStore
from tests.fakes.operations import FakeMonitor
from tests.fakes.reports import InMemoryDocumentStore, PlainReportWriter
from tests.fakes.tenants import FakeDirectory, FakeLedger, FakeStudyStore
from tests.fakes.values import NOON, a_caller, a_client, a_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chalicelib.domain import Client, Delivery, Job, Prediction, Radiograph, Study
    from chalicelib.errors import RadgateError
    from chalicelib.ports import Clock

IMAGE = b"an image"
REQUEST = "11111111-2222-4333-8444-555555555555"


def explain(error: RadgateError | None, request_id: str) -> dict[str, str | int]:
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


def test_a_queued_study_gets_its_result_and_leaves_nothing_behind(bench: Bench) -> None:
    bench.enqueue(IMAGE)
    assert bench.work() == (None,)
    [study] = bench.all()
    assert study.status is StudyStatus.SUCCEEDED
    assert (study.label, study.mode) == ("Cardiomegaly", "live")
    assert study.image is not None
    assert study.completed_at is not None
    assert (len(bench.documents), bench.sources.objects, bench.jobs.jobs) == (2, {}, {})
    assert bench.told() == [("study.succeeded", "mail"), ("study.succeeded", "webhook")]
    assert len({one.id for one in bench.outbox.sent}) == 1
    assert bench.jobs.deliveries == bench.outbox.sent
    assert bench.used() == 1


def test_a_batch_is_answered_in_one_pass(bench: Bench) -> None:
    bench.enqueue(*(IMAGE + bytes([n]) for n in range(7)))
    assert bench.work() == (None,) * 7
    assert {study.status for study in bench.all()} == {StudyStatus.SUCCEEDED}
    assert (bench.classifier.passes, bench.classifier.predictions) == (1, 7)


def test_no_more_pixels_are_held_than_the_cap_allows() -> None:
    bench = Bench(max_pixel_bytes=33)  # two images of 16 bytes
    bench.enqueue(*(IMAGE + bytes([n]) for n in range(5)))
    assert bench.work() == (None,) * 5
    assert (bench.classifier.passes, bench.classifier.predictions) == (3, 5)


@pytest.mark.parametrize("place", range(3))
def test_one_bad_image_harms_no_other(bench: Bench, place: int) -> None:
    bodies = [IMAGE + bytes([n]) for n in range(2)]
    bodies.insert(place, b"broken")
    bench.enqueue(*bodies)
    assert bench.work() == (None,) * 3
    studies = bench.all()
    failed = studies.pop(place)
    assert {study.status for study in studies} == {StudyStatus.SUCCEEDED}
    assert failed.status is StudyStatus.FAILED
    assert failed.error == explain_of("unreadable_image", 422, "The image is broken.")
    assert bench.sources.objects == {}
    assert bench.used() == 2
    assert ("study.failed", "mail") in bench.told()


def explain_of(code: str, status: int, detail: str) -> dict[str, str | int]:
    problem: dict[str, str | int] = {
        "type": f"urn:radgate:problem:{code}",
        "title": "The image cannot be read",
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": REQUEST,
    }
    return problem


def test_an_image_that_the_network_cannot_answer_harms_no_other(bench: Bench) -> None:
    bench.enqueue(IMAGE, b"odd", IMAGE + b"2")
    assert bench.work() == (None, RETRY, None)
    assert [study.status for study in bench.all()] == [
        StudyStatus.SUCCEEDED,
        StudyStatus.RUNNING,
        StudyStatus.SUCCEEDED,
    ]


def test_an_image_that_is_no_chest_fails_as_the_client_wants_it(bench: Bench) -> None:
    bench.gate.quality = Quality(accepted=False, score=0.1, reasons=("not_a_chest",))
    warned = a_client("other", gate_policy="warn")
    bench.directory.put(warned)
    bench.enqueue(IMAGE)
    bench.enqueue(IMAGE, client=warned)
    assert bench.work() == (None, None)
    refused, doubted = bench.all()
    assert refused.error is not None
    assert refused.error["code"] == "not_a_chest_xray"
    assert doubted.status is StudyStatus.SUCCEEDED
    assert doubted.quality == bench.gate.quality


def test_a_policy_of_now_counts_not_the_one_of_then(bench: Bench) -> None:
    bench.gate.quality = Quality(accepted=False, score=0.1, reasons=("not_a_chest",))
    bench.enqueue(IMAGE)
    bench.directory.put(bench.client.model_copy(update={"gate_policy": "warn"}))
    bench.work()
    assert bench.all()[0].status is StudyStatus.SUCCEEDED


def test_a_failure_of_ours_is_tried_again_at_growing_distances(bench: Bench) -> None:
    bench.enqueue(IMAGE)
    bench.sources.failures = 2
    assert bench.work() == (RETRY,)
    assert bench.all()[0].status is StudyStatus.RUNNING
    assert bench.work() == (4 * RETRY,)  # the lease was given back, so no time need pass
    assert bench.work() == (None,)
    assert bench.all()[0].status is StudyStatus.SUCCEEDED
    assert bench.used() == 1
    assert len(bench.monitor.defects) == 2


def test_after_the_last_attempt_it_fails_costs_nothing_and_is_a_dead_letter(bench: Bench) -> None:
    bench.enqueue(IMAGE)
    bench.classifier.working = False
    assert [bench.work() for _ in range(MAX_ATTEMPTS)] == [(RETRY,), (4 * RETRY,), (AT_ONCE,)]
    [study] = bench.all()
    assert study.status is StudyStatus.FAILED
    assert study.error is not None
    assert study.error["code"] == "model_unavailable"
    assert bench.used() == 0
    assert bench.told() == [("study.failed", "mail"), ("study.failed", "webhook")]
    # The bytes stay, so that it can be queued anew, and the message goes on being refused.
    assert len(bench.sources.objects) == 1
    assert bench.work() == (AT_ONCE,)
    assert len(bench.told()) == 2


def test_a_defect_is_told_as_a_defect_and_no_more(bench: Bench) -> None:
    bench.enqueue(b"odd")
    for _ in range(MAX_ATTEMPTS):
        bench.work()
    [study] = bench.all()
    assert study.error is not None
    assert (study.error["code"], study.error["status"]) == ("internal_error", 500)
    assert "cannot answer this" not in study.model_dump_json()


def test_a_test_study_that_fails_is_not_given_back(bench: Bench) -> None:
    bench.enqueue(IMAGE)
    bench.enqueue(b"broken", mode="test")
    bench.work()
    assert bench.used() == 1
    assert bench.all()[1].mode == "test"


def test_bytes_that_are_gone_end_the_study_at_once(bench: Bench) -> None:
    bench.enqueue(IMAGE)
    bench.sources.objects.clear()
    assert bench.work() == (RETRY,)
    [study] = bench.all()
    assert study.status is StudyStatus.FAILED
    assert bench.used() == 0


@pytest.mark.parametrize("change", [{"status": "suspended"}, {"deleting_at": NOON}])
def test_nothing_is_computed_for_who_may_not_call(bench: Bench, change: dict[str, object]) -> None:
    bench.enqueue(IMAGE)
    bench.directory.put(bench.client.model_copy(update=change))
    assert bench.work() == (None,)
    [study] = bench.all()
    assert study.error is not None
    assert study.error["code"] == "client_suspended"
    assert (bench.used(), bench.classifier.passes, bench.sources.objects) == (0, 0, {})
    assert bool(bench.told()) == ("status" in change)


def test_a_message_that_comes_twice_does_its_work_once(bench: Bench) -> None:
    bench.enqueue(IMAGE)
    bench.queue.sent *= 2
    assert bench.work() == (None, None)
    assert bench.classifier.predictions == 1
    assert len(bench.told()) == 2
    assert bench.work() == (None, None)
    assert bench.classifier.predictions == 1


def test_a_message_about_nothing_goes(bench: Bench) -> None:
    nothing = Message(client_id="acme", study_id="st_01JD8Z5M3Q4R6S7T8V9W0XYZAB")
    assert bench.worker.work([nothing]) == (None,)


def test_another_worker_s_study_is_left_to_it(bench: Bench) -> None:
    bench.enqueue(IMAGE)
    [(message, _)] = bench.queue.sent
    assert bench.jobs.begin(message.client_id, message.study_id)
    assert bench.work() == (None,)
    assert bench.classifier.passes == 0


class SlowDecoder(FakeDecoder):
    """Takes a minute of the clock for each image, and lets somebody else have a go before that."""

    def __init__(self, clock: FixedClock, meanwhile: Callable[[], None]) -> None:
        self._clock = clock
        self._meanwhile = meanwhile

    def decode(self, body: bytes) -> Radiograph:
        self._clock.advance(60)
        self._meanwhile()
        return super().decode(body)


def test_a_batch_that_takes_longer_than_a_lease_keeps_its_studies(bench: Bench) -> None:
    taken: list[Job] = []

    def rival() -> None:
        begun = [job.study_id for job in bench.jobs.jobs.values() if job.attempt]
        taken.extend(job for one in begun if (job := bench.jobs.begin("acme", one)))

    bench.enqueue(*(IMAGE + bytes([n]) for n in range(10)))
    bench.reader = replace(bench.reader, decoder=SlowDecoder(bench.clock, rival))
    assert bench.work() == (None,) * 10
    assert bench.clock() - NOON > 3 * LEASE
    assert taken == []
    assert {study.status for study in bench.all()} == {StudyStatus.SUCCEEDED}
    assert (bench.classifier.passes, bench.classifier.predictions) == (1, 10)


def test_what_another_has_taken_meanwhile_is_not_even_answered(bench: Bench) -> None:
    def rival() -> None:
        if bench.clock() - NOON > LEASE:  # the batch has hung, past every renewal
            bench.jobs.begin("acme", bench.queue.sent[0][0].study_id)

    def hang() -> None:
        bench.clock.advance(LEASE.total_seconds())
        rival()

    bench.enqueue(IMAGE, IMAGE + b"2")
    bench.reader = replace(bench.reader, decoder=SlowDecoder(bench.clock, hang))
    assert bench.work() == (None, None)
    first, second = bench.all()
    assert (first.status, second.status) == (StudyStatus.RUNNING, StudyStatus.SUCCEEDED)
    assert bench.classifier.predictions == 1


def test_a_renewal_that_fails_between_two_steps_harms_nothing(bench: Bench) -> None:
    class Deaf(FakeJobStore):
        def renew(self, job: Job) -> Job | None:
            raise StorageUnavailable("The table does not answer.")

    bench.enqueue(IMAGE, IMAGE + b"2")
    jobs = Deaf(bench.studies, bench.ledger, bench.clock)
    jobs.jobs = bench.jobs.jobs
    bench.reader = replace(bench.reader, decoder=SlowDecoder(bench.clock, lambda: None))
    bench.worker = replace(bench.worker, jobs=jobs)
    assert bench.work() == (None, None)
    assert {study.status for study in bench.all()} == {StudyStatus.SUCCEEDED}


def test_who_lost_the_lease_stores_nothing(bench: Bench) -> None:
    class Slow(PlainReportWriter):
        def write(self, *args: object, **named: object) -> bytes:
            bench.clock.advance(LEASE.total_seconds())
            assert bench.jobs.begin(message.client_id, message.study_id)
            return b"%PDF"

    bench.enqueue(IMAGE)
    [(message, _)] = bench.queue.sent
    bench.reader = replace(bench.reader, writer=Slow())
    assert bench.work() == (None,)
    assert bench.all()[0].status is StudyStatus.RUNNING
    assert bench.told() == []
    assert len(bench.sources.objects) == 1  # the other one needs them


@pytest.mark.parametrize("moment", ["written", "looked", "proven", "stored"])
def test_all_of_a_study_is_of_one_pack_whoever_comes_between(bench: Bench, moment: str) -> None:
    """Another worker, with the newer pack, does the whole study while the first one hangs."""

    def overtake() -> None:
        bench.clock.advance(LEASE.total_seconds())
        bench.classifier.pack, bench.classifier.label = NEWER_FACTS, "Edema"
        assert bench.work() == (None,)

    class Slow(PlainReportWriter):
        def write(self, *args: Any, **named: Any) -> bytes:
            report = super().write(*args, **named)
            if bench.classifier.pack is not NEWER_FACTS:
                overtake()
            return report

    bench.enqueue(IMAGE)
    if moment == "written":
        bench.reader = replace(bench.reader, writer=Slow())
    else:
        bench.keep_documents(Overtaken(bench.clock, moment, overtake))
    if moment == "looked":  # as a second attempt does, since the first may have left something
        bench.sources.failures = 1
        assert bench.work() == (RETRY,)
    assert bench.work() == (None,)
    [study] = bench.all()
    assert study.model == NEWER_FACTS.ref
    shown = StudyService(bench.studies, bench.documents).get("acme", study.id)
    assert shown.report is not None
    report = bench.documents.fetch(shown.report.url)
    assert report is not None
    assert b"newernet" in report
    assert [bench.documents.fetch(one.url) is not None for one in shown.heatmaps] == [True]
    assert len(bench.documents) == 2  # and no second report


def test_a_first_attempt_does_not_look_for_what_another_may_have_left(bench: Bench) -> None:
    looks: list[str] = []
    bench.keep_documents(Overtaken(bench.clock, "looked", lambda: looks.append("looked")))
    bench.enqueue(IMAGE)
    assert bench.work() == (None,)
    assert looks == []


def test_of_a_study_erased_under_the_worker_nothing_stays(bench: Bench) -> None:
    class Erasing(PlainReportWriter):
        def write(self, *args: object, **named: object) -> bytes:
            erasure = FakeErasure(bench.studies, bench.jobs, bench.clock)
            service = ErasureService(erasure, bench.documents, bench.sources)
            service.erase(message.client_id, message.study_id)
            return b"%PDF"

    bench.enqueue(IMAGE)
    [(message, _)] = bench.queue.sent
    bench.reader = replace(bench.reader, writer=Erasing())
    assert bench.work() == (None,)
    assert bench.all()[0].status is StudyStatus.DELETED
    assert (len(bench.documents), bench.sources.objects, bench.told()) == (0, {}, [])
    assert bench.used() == 1


def test_of_a_study_that_went_with_its_client_nothing_stays(bench: Bench) -> None:
    class Removing(PlainReportWriter):
        def write(self, *args: object, **named: object) -> bytes:
            bench.studies.remove(message.client_id, message.study_id)
            return b"%PDF"

    bench.enqueue(IMAGE)
    [(message, _)] = bench.queue.sent
    bench.reader = replace(bench.reader, writer=Removing())
    assert bench.work() == (None,)
    assert len(bench.documents) == 0
    with pytest.raises(NotFound):
        bench.studies.get(message.client_id, message.study_id)


def test_notices_that_cannot_be_sent_do_not_undo_a_result(bench: Bench) -> None:
    class Deaf(FakeOutbox):
        def send(self, delivery: Delivery) -> None:
            raise StorageUnavailable("The queue does not answer.")

    bench.enqueue(IMAGE)
    endings = replace(bench.worker.endings, outbox=Deaf(bench.clock))
    bench.worker = replace(bench.worker, endings=endings)
    assert bench.work() == (None,)
    assert bench.all()[0].status is StudyStatus.SUCCEEDED
    assert len(bench.jobs.deliveries) == 2  # where the sweeper finds them


def test_a_stage_may_have_its_own_distances(bench: Bench) -> None:
    bench.enqueue(IMAGE)
    bench.worker = replace(bench.worker, retry=timedelta(seconds=1))
    bench.classifier.working = False
    waits = [timedelta(seconds=1), timedelta(seconds=4), AT_ONCE]
    assert [bench.work() for _ in range(MAX_ATTEMPTS)] == [(wait,) for wait in waits]


def test_without_a_model_each_study_has_its_attempts(bench: Bench) -> None:
    def none() -> Reader:
        raise ModelUnavailable("no runtime is installed")

    bench.enqueue(IMAGE)
    bench.worker = replace(bench.worker, reader=none)
    assert [bench.work() for _ in range(MAX_ATTEMPTS)] == [(RETRY,), (4 * RETRY,), (AT_ONCE,)]
    [study] = bench.all()
    assert study.error is not None
    assert study.error["code"] == "model_unavailable"


def test_a_table_that_is_away_keeps_the_message(bench: Bench) -> None:
    class Away(FakeJobStore):
        def begin(self, client_id: str, study_id: str) -> Job | None:
            raise StorageUnavailable("The table does not answer.")

    bench.enqueue(IMAGE)
    jobs = Away(bench.studies, bench.ledger, bench.clock)
    bench.worker = replace(bench.worker, jobs=jobs)
    assert bench.work() == (RETRY,)


def test_what_kills_its_process_thrice_is_given_up_and_takes_no_other_with_it(
    bench: Bench,
) -> None:
    bench.enqueue(IMAGE, b"fatal", IMAGE + b"2")
    for _ in range(MAX_ATTEMPTS):
        with pytest.raises(KeyboardInterrupt):
            bench.work()
        bench.clock.advance(LEASE.total_seconds())
    assert bench.work() == (None, AT_ONCE, None)
    assert [study.status for study in bench.all()] == [
        StudyStatus.SUCCEEDED,
        StudyStatus.FAILED,
        StudyStatus.SUCCEEDED,
    ]
    assert bench.used() == 2


def test_every_line_names_study_client_and_request(bench: Bench) -> None:
    bench.enqueue(IMAGE, b"broken")
    bench.work()
    lines = [facts for event, facts in bench.monitor.lines if event == "study"]
    assert [line["code"] for line in sorted(lines, key=lambda line: str(line["code"]))] == [
        "",
        "unreadable_image",
    ]
    begun = [facts for event, facts in bench.monitor.lines if event == "begun"]
    assert {line["study_id"] for line in begun} == {line["study_id"] for line in lines}
    for line in (*begun, *lines):
        assert (line["request_id"], line["client"], line["attempt"]) == (REQUEST, "acme", 1)
    parts = {d["part"] for name, _, d in bench.monitor.values if name == "BatchTime"}
    assert parts == {"fetch", "decode", "gate", "predict", "report", "store"}
