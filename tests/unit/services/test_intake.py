"""Taking studies in over shipped fakes: what is stored, what a refusal leaves, who is rung for."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from chalicelib.domain import (
    MAX_UPLOAD_BYTES,
    Caller,
    Client,
    Idempotency,
    Job,
    Message,
    Study,
    StudyStatus,
    Usage,
)
from chalicelib.errors import (
    IdempotencyConflict,
    NotFinished,
    NotFound,
    PayloadTooLarge,
    QuotaExceeded,
    RadgateError,
    StorageUnavailable,
)
from chalicelib.services.intake import SHARE, IntakeService
from chalicelib.services.timing import in_time
from tests.fakes.clock import FixedClock
from tests.fakes.intake import FakeIntake, InMemorySourceStore
from tests.fakes.jobs import FakeJobQueue, FakeJobStore
from tests.fakes.tenants import FakeLedger, FakeStudyStore
from tests.fakes.values import a_caller, a_client, a_key, a_plan

if TYPE_CHECKING:
    from chalicelib.domain import UploadForm

IMAGE = b"\x89PNG an image"


class ForgetfulLedger(FakeLedger):
    """Says before the work that units are left, as a read does that races others."""

    def usage(self, client: Client) -> Usage:
        return super().usage(client).model_copy(update={"used": 0})


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


def caller_with(units: int) -> Caller:
    return a_caller(a_client(plan=a_plan(studies=units)))


def a_word(key: str = "once", request: str = "a") -> Idempotency:
    return Idempotency(key=key, fingerprint=request * 64)


def test_posted_bytes_become_a_queued_study(bench: Bench) -> None:
    caller = a_caller()
    study = bench.service.enqueue(caller, IMAGE, request_id="r-1")
    assert study.status is StudyStatus.QUEUED
    assert study.created_at == bench.clock()
    assert bench.studies.get("acme", study.id) == study
    assert bench.left(caller) == (1, 1, 1, 1)
    job = bench.jobs.jobs[study.id]
    assert bench.sources.get(job.object_name) == IMAGE
    assert (job.metered_at, job.request_id) == (bench.clock(), "r-1")
    assert bench.queue.sent == [(Message(client_id="acme", study_id=study.id), False)]


def test_a_name_of_bytes_is_its_clients_and_cannot_be_guessed(bench: Bench) -> None:
    for _ in range(2):
        bench.service.enqueue(a_caller(), IMAGE)
    names = list(bench.sources.objects)
    assert all(name.startswith("uploads/acme/st_") for name in names)
    words = {name.rpartition("-")[2] for name in names}
    assert len(words) == 2
    assert all(len(bytes.fromhex(word)) == 16 for word in words)


def test_a_test_key_meters_nothing(bench: Bench) -> None:
    caller = a_caller(caller_with(units=1).client, a_key(mode="test"))
    studies = [bench.service.enqueue(caller, IMAGE) for _ in range(2)]
    assert [study.mode for study in studies] == ["test", "test"]
    assert bench.left(caller) == (2, 0, 2, 2)
    assert bench.jobs.jobs[studies[0].id].metered_at is None


def test_without_units_nothing_is_stored(bench: Bench) -> None:
    caller = caller_with(units=1)
    bench.service.enqueue(caller, IMAGE)
    with pytest.raises(QuotaExceeded):
        bench.service.enqueue(caller, IMAGE)
    assert bench.left(caller) == (1, 1, 1, 1)
    assert len(bench.queue.sent) == 1


def test_the_loser_of_a_race_for_the_last_unit_keeps_no_bytes() -> None:
    bench, caller = Bench(ledger_type=ForgetfulLedger), caller_with(units=1)
    bench.service.enqueue(caller, IMAGE)
    with pytest.raises(QuotaExceeded):
        bench.service.enqueue(caller, IMAGE)
    assert bench.left(caller) == (1, 1, 1, 1)


def test_bytes_stay_when_the_table_may_have_taken_the_study() -> None:
    bench, caller = Bench(intake_type=BrokenIntake), a_caller()
    with pytest.raises(StorageUnavailable):
        bench.service.enqueue(caller, IMAGE)
    assert bench.left(caller) == (0, 0, 0, 1)


@pytest.mark.parametrize("way", ["bytes", "upload"])
def test_what_is_stored_too_late_is_no_study(bench: Bench, way: str) -> None:
    """The storage answers after the client was told that it does not."""
    let_go, ended = threading.Event(), threading.Event()

    class Slow(InMemorySourceStore):
        def put(self, object_name: str, body: bytes) -> None:
            let_go.wait(30)
            super().put(object_name, body)

        def take(self, posted: str, study_id: str) -> str | None:
            let_go.wait(30)
            return super().take(posted, study_id)

    bench.sources = Slow(bench.clock)
    bench.service = replace(bench.service, sources=bench.sources)
    caller = a_caller()
    form = bench.upload(caller) if way == "upload" else None

    def ask() -> None:
        try:
            if form is None:
                bench.service.enqueue(caller, IMAGE)
            else:
                bench.service.enqueue_upload(caller, form.upload_id)
        except StorageUnavailable:
            ended.set()

    with pytest.raises(TimeoutError):
        in_time(ask, 0.02)
    let_go.set()
    assert ended.wait(10)
    assert bench.left(caller)[:3] == (0, 0, 0)
    # What was uploaded is left for the next request.
    assert list(bench.sources.objects) == ([] if form is None else [form.fields["key"]])
    if form is not None:
        assert bench.service.enqueue_upload(caller, form.upload_id).status is StudyStatus.QUEUED


def test_a_study_stands_whose_message_could_not_be_sent() -> None:
    bench, caller = Bench(queue=SilentQueue()), a_caller()
    study = bench.service.enqueue(caller, IMAGE)
    assert bench.studies.get("acme", study.id).status is StudyStatus.QUEUED
    assert bench.left(caller) == (1, 1, 1, 1)


# --- fairness ---------------------------------------------------------------------------


def test_a_clients_share_goes_to_the_first_queue_and_the_rest_to_the_bulk_one(
    bench: Bench,
) -> None:
    for _ in range(SHARE + 2):
        bench.service.enqueue(a_caller(), IMAGE)
    bench.service.enqueue(a_caller(a_client("other")), IMAGE)
    assert SHARE == 10
    assert [bulk for _, bulk in bench.queue.sent] == [False] * 10 + [True] * 2 + [False]


def test_what_is_under_way_does_not_count_as_waiting(bench: Bench) -> None:
    queued = [bench.service.enqueue(a_caller(), IMAGE) for _ in range(SHARE)]
    assert bench.jobs.begin("acme", queued[0].id) is not None
    bench.service.enqueue(a_caller(), IMAGE)
    assert not any(bulk for _, bulk in bench.queue.sent)


# --- idempotency ------------------------------------------------------------------------


def test_a_key_makes_one_study_and_keeps_its_bytes_once(bench: Bench) -> None:
    caller = a_caller()
    first = bench.service.enqueue(caller, IMAGE, a_word())
    assert bench.service.enqueue(caller, IMAGE, a_word()) == first
    assert bench.left(caller) == (1, 1, 1, 1)
    assert len(bench.queue.sent) == 1


def test_the_loser_of_a_race_of_one_key_keeps_no_bytes() -> None:
    bench, caller = Bench(intake_type=LateIntake), a_caller()
    first = bench.service.enqueue(caller, IMAGE, a_word())
    assert bench.service.enqueue(caller, IMAGE, a_word()) == first
    assert bench.left(caller) == (1, 1, 1, 1)
    assert len(bench.queue.sent) == 1


@pytest.mark.parametrize("intake_type", [FakeIntake, LateIntake])
def test_a_key_with_another_body_is_a_conflict(intake_type: type[FakeIntake]) -> None:
    bench, caller = Bench(intake_type=intake_type), a_caller()
    bench.service.enqueue(caller, IMAGE, a_word())
    with pytest.raises(IdempotencyConflict):
        bench.service.enqueue(caller, IMAGE, a_word(request="b"))
    assert bench.left(caller) == (1, 1, 1, 1)


def test_a_known_key_is_answered_although_the_units_are_used_up(bench: Bench) -> None:
    caller = caller_with(units=1)
    first = bench.service.enqueue(caller, IMAGE, a_word())
    assert bench.service.enqueue(caller, IMAGE, a_word()) == first


def test_a_test_and_a_live_study_do_not_share_a_key(bench: Bench) -> None:
    live, test = a_caller(), a_caller(key=a_key(mode="test"))
    tried = bench.service.enqueue(test, IMAGE, a_word())
    made = bench.service.enqueue(live, IMAGE, a_word())
    assert (tried.mode, made.mode) == ("test", "live")
    assert bench.left(live) == (2, 1, 2, 2)
    assert bench.service.enqueue(live, IMAGE, a_word()) == made
    assert bench.service.enqueue(test, IMAGE, a_word()) == tried


def test_the_keys_of_a_client_share_what_was_made_with_a_word(bench: Bench) -> None:
    client = a_client()
    first = bench.service.enqueue(a_caller(client, a_key()), IMAGE, a_word())
    assert bench.service.enqueue(a_caller(client, a_key()), IMAGE, a_word()) == first


# --- uploads ----------------------------------------------------------------------------


def test_an_upload_becomes_a_queued_study(bench: Bench) -> None:
    caller = a_caller()
    form = bench.upload(caller)
    study = bench.service.enqueue_upload(caller, form.upload_id, request_id="r-2")
    assert study.status is StudyStatus.QUEUED
    job = bench.jobs.jobs[study.id]
    assert bench.sources.get(job.object_name) == IMAGE
    assert job.object_name.startswith(f"uploads/acme/{form.upload_id}-")
    assert bench.left(caller) == (1, 1, 1, 1)
    assert [message.study_id for message, _ in bench.queue.sent] == [study.id]


def test_what_is_posted_after_the_study_was_taken_in_is_none_of_it(bench: Bench) -> None:
    caller = a_caller()
    form = bench.upload(caller)
    study = bench.service.enqueue_upload(caller, form.upload_id)
    job = bench.jobs.jobs[study.id]
    assert list(bench.sources.objects) == [job.object_name]
    assert bench.sources.post(form, b"another image"[: len(IMAGE)])
    assert bench.sources.get(job.object_name) == IMAGE
    with pytest.raises(NotFound):
        bench.service.enqueue_upload(caller, form.upload_id)
    # Whoever clears up behind the study erases both.
    bench.sources.delete(job.object_name)
    assert bench.sources.objects == {}


def test_a_form_takes_no_more_than_was_announced(bench: Bench) -> None:
    form = bench.service.open_upload(a_caller(), len(IMAGE), "image/png")
    assert form.max_bytes == len(IMAGE)
    assert not bench.sources.post(form, IMAGE + b"!")
    assert not bench.sources.post(form, b"")
    assert bench.sources.post(form, IMAGE)
    assert (form.expires_at - bench.clock()).total_seconds() == 15 * 60


def test_an_upload_over_the_cap_is_refused(bench: Bench) -> None:
    bench.service.open_upload(a_caller(), MAX_UPLOAD_BYTES, "image/png")
    with pytest.raises(PayloadTooLarge):
        bench.service.open_upload(a_caller(), MAX_UPLOAD_BYTES + 1, "image/png")


def test_an_upload_without_bytes_is_not_finished(bench: Bench) -> None:
    caller = a_caller()
    form = bench.service.open_upload(caller, 9, "image/png")
    with pytest.raises(NotFinished):
        bench.service.enqueue_upload(caller, form.upload_id)
    assert bench.left(caller) == (0, 0, 0, 0)
    assert bench.sources.post(form, b"123456789")
    bench.service.enqueue_upload(caller, form.upload_id)


def test_a_used_upload_is_not_there_but_its_key_still_answers(bench: Bench) -> None:
    caller = a_caller()
    form = bench.upload(caller)
    study = bench.service.enqueue_upload(caller, form.upload_id, a_word())
    with pytest.raises(NotFound):
        bench.service.enqueue_upload(caller, form.upload_id)
    with pytest.raises(NotFound):
        bench.service.enqueue_upload(caller, form.upload_id, a_word("another"))
    assert bench.service.enqueue_upload(caller, form.upload_id, a_word()) == study
    assert bench.left(caller) == (1, 1, 1, 1)
    assert len(bench.queue.sent) == 1


def test_the_bytes_of_a_refused_upload_wait_for_another_try(bench: Bench) -> None:
    caller = caller_with(units=1)
    bench.service.enqueue(caller, IMAGE)
    form = bench.upload(caller)
    with pytest.raises(QuotaExceeded):
        bench.service.enqueue_upload(caller, form.upload_id)
    assert bench.left(caller) == (1, 1, 1, 2)
    more = a_caller(a_client(plan=a_plan(studies=2)))
    bench.service.enqueue_upload(more, form.upload_id)


def test_an_upload_without_a_unit_is_refused_before_anything_is_looked_up(bench: Bench) -> None:
    caller = caller_with(units=1)
    bench.service.enqueue(caller, IMAGE)
    with pytest.raises(QuotaExceeded):
        bench.service.enqueue_upload(caller, "up_01JD8Z5M3Q4R6S7T8V9W0XYZAB")


@pytest.mark.parametrize(
    ("asker", "error"),
    [(a_caller(a_client("other")), NotFound), (a_caller(key=a_key(mode="test")), None)],
    ids=["another client", "another key of the client"],
)
def test_an_upload_is_its_clients(
    bench: Bench, asker: Caller, error: type[RadgateError] | None
) -> None:
    form = bench.upload(a_caller())
    if error is None:
        assert bench.service.enqueue_upload(asker, form.upload_id).mode == "test"
        return
    with pytest.raises(error):
        bench.service.enqueue_upload(asker, form.upload_id)


def test_an_upload_ends_after_a_day(bench: Bench) -> None:
    caller = a_caller()
    form = bench.upload(caller)
    bench.clock.advance(24 * 3600)
    with pytest.raises(NotFound):
        bench.service.enqueue_upload(caller, form.upload_id)
