"""The sweeper against fakes: what it rings for and when, and that its time is bounded."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from chalicelib.domain import (
    LAST_BYTES,
    LEASE,
    MAX_ATTEMPTS,
    REPORT_NAME,
    UPLOAD_LIFE,
    UPLOAD_LINK,
    Message,
    StudyStatus,
)
from chalicelib.errors import StorageUnavailable
from chalicelib.services.erasure import ErasureService
from chalicelib.services.expiring import CLIENTS, LOOK_EVERY, STUDIES, RetentionService
from chalicelib.services.intake import SHARE
from chalicelib.services.sweeper import LONGEST_PATIENCE, PATIENCE, SweeperService
from chalicelib.services.timing import Deadline
from tests.fakes.deliveries import FakeDeliveryStore, a_delivery
from tests.fakes.intake import FakeErasure, InMemorySourceStore
from tests.fakes.operations import FakeRetentionStore, FakeStudyFolders
from tests.fakes.values import a_caller, a_client, a_study
from tests.unit.services.test_worker import IMAGE, Bench

if TYPE_CHECKING:
    from datetime import datetime

    from chalicelib.domain import Job, Study, UploadForm


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


def test_a_queued_study_that_stands_still_is_rung_for(yard: Yard) -> None:
    yard.enqueue(IMAGE)
    [sent] = yard.rung()
    yard.wait(PATIENCE - timedelta(seconds=1))
    assert yard.sweep() == {}
    yard.wait(timedelta(seconds=1))
    assert yard.sweep() == {"rung": 1}
    assert yard.rung() == [sent]
    assert yard.worker.work([sent]) == (None,)
    yard.wait(PATIENCE)
    assert yard.sweep() == {}


def test_behind_a_flood_it_rings_ever_less(yard: Yard) -> None:
    yard.enqueue(IMAGE)
    rings = []
    for minute in range(24 * 60):
        if yard.sweep().get("rung"):
            rings.append(minute)
        yard.wait(timedelta(minutes=1))
    waits = [after - before for before, after in itertools.pairwise(rings)]
    assert rings[0] == 5
    assert waits[:5] == [10, 20, 40, 80, 120]
    assert set(waits[4:]) == {LONGEST_PATIENCE // timedelta(minutes=1)}


def test_a_dead_worker_s_study_is_rung_for_when_its_lease_is_over(yard: Yard) -> None:
    yard.enqueue(IMAGE)
    [sent] = yard.rung()
    assert yard.jobs.begin(sent.client_id, sent.study_id)
    yard.wait(LEASE - timedelta(seconds=1))
    assert yard.sweep() == {}
    yard.wait(timedelta(seconds=1))
    assert yard.sweep() == {"rung": 1}
    assert yard.sweep() == {}  # once, and then as patiently as for any other
    assert yard.rung() == [sent]
    assert yard.worker.work([sent]) == (None,)


def test_what_was_released_is_left_to_sqs_at_first(yard: Yard) -> None:
    yard.enqueue(IMAGE)
    [sent] = yard.rung()
    job = yard.jobs.begin(sent.client_id, sent.study_id)
    assert job
    yard.jobs.release(job)
    assert yard.sweep() == {}
    yard.wait(PATIENCE)
    assert yard.sweep() == {"rung": 1}


def test_after_the_last_attempt_it_is_given_up_without_a_worker(yard: Yard) -> None:
    yard.enqueue(IMAGE)
    [sent] = yard.rung()
    for _ in range(MAX_ATTEMPTS):
        assert yard.jobs.begin(sent.client_id, sent.study_id)
        yard.wait(LEASE)
    assert yard.sweep() == {"given_up": 1}
    study = yard.studies.get(sent.client_id, sent.study_id)
    assert study.status is StudyStatus.FAILED
    assert study.error is not None
    assert study.error["code"] == "internal_error"
    assert yard.used() == 0
    assert yard.rung() == []


def test_what_is_older_than_its_bytes_is_given_up(yard: Yard) -> None:
    yard.enqueue(IMAGE)
    [sent] = yard.rung()
    yard.wait(UPLOAD_LIFE + timedelta(seconds=1))
    assert yard.sweep() == {"given_up": 1}
    assert yard.studies.get(sent.client_id, sent.study_id).status is StudyStatus.FAILED
    assert yard.used() == 0


def test_one_client_s_flood_is_rung_for_in_the_bulk_queue(yard: Yard) -> None:
    other = a_client("other")
    yard.directory.put(other)
    yard.enqueue(*(IMAGE for _ in range(SHARE + 5)))
    yard.enqueue(IMAGE, client=other)
    yard.rung()
    yard.wait(PATIENCE)
    assert yard.sweep() == {"rung": SHARE + 6}
    bulk = [message.client_id for message, is_bulk in yard.queue.sent if is_bulk]
    assert bulk == ["acme"] * 5


def test_an_erasure_that_was_cut_short_is_finished(yard: Yard) -> None:
    yard.enqueue(IMAGE)
    yard.rung()
    job = yard.the_job()
    FakeErasure(yard.studies, yard.jobs, yard.clock).begin(job.client_id, job.study_id)
    yard.wait(timedelta(minutes=1))
    assert yard.sweep() == {"erasures_finished": 1}
    assert (yard.sources.objects, yard.jobs.jobs, yard.rung()) == ({}, {}, [])


def test_an_erasure_is_finished_at_once_however_long_the_study_has_waited(yard: Yard) -> None:
    """Behind a flood it was rung for until the next ring was two hours away."""
    yard.enqueue(IMAGE)
    while yard.the_job().rings < 6:
        yard.wait(timedelta(minutes=1))
        yard.sweep()
    job = yard.the_job()
    FakeErasure(yard.studies, yard.jobs, yard.clock).begin(job.client_id, job.study_id)
    assert yard.sweep() == {"erasures_finished": 1}
    assert yard.sources.objects == {}


def test_what_a_worker_may_store_of_an_erased_study_goes_when_its_lease_is_over(
    yard: Yard,
) -> None:
    yard.enqueue(IMAGE)
    job = yard.the_job()
    assert yard.jobs.begin(job.client_id, job.study_id)
    yard.wait(LEASE / 2)
    yard.erasure.erase(job.client_id, job.study_id)
    yard.documents.put(job.client_id, job.study_id, "report.pdf", b"%PDF-")
    yard.wait(LEASE / 2 - timedelta(seconds=1))
    assert yard.sweep() == {}
    yard.wait(timedelta(seconds=1))
    assert yard.sweep() == {"erasures_finished": 1}
    assert (len(yard.documents), yard.jobs.jobs) == (0, {})


def spend_an_upload(yard: Yard) -> UploadForm:
    """Have a study made of an upload, work on it, and post to its form once more."""
    form = yard.intake.open_upload(a_caller(yard.client), len(IMAGE), "image/png")
    assert yard.sources.post(form, IMAGE)
    study = yard.intake.enqueue_upload(a_caller(yard.client), form.upload_id)
    assert yard.worker.work([Message(client_id="acme", study_id=study.id)]) == (None,)
    assert form.fields["key"] not in yard.sources.objects
    assert yard.sources.post(form, IMAGE[::-1])
    return form


def test_what_a_form_took_too_late_is_erased_once_it_has_ended(yard: Yard) -> None:
    form = spend_an_upload(yard)
    yard.wait(UPLOAD_LINK + LAST_BYTES - timedelta(seconds=1))
    assert yard.sweep() == {}
    assert list(yard.sources.objects) == [form.fields["key"]]
    yard.wait(timedelta(seconds=1))
    assert yard.sweep() == {"forms_ended": 1}
    assert yard.sources.objects == {}
    assert yard.sweep() == {}


def test_late_bytes_that_cannot_be_erased_hold_up_no_others_and_are_tried_again(
    yard: Yard,
) -> None:
    first, second = (spend_an_upload(yard) for _ in range(2))

    class Picky(InMemorySourceStore):
        def drop(self, object_name: str) -> None:
            if object_name == first.fields["key"]:
                raise StorageUnavailable("The image storage does not answer.")
            del yard.sources.objects[object_name]

    usual, yard.sweeper = yard.sweeper, replace(yard.sweeper, sources=Picky(yard.clock))
    yard.wait(UPLOAD_LINK + LAST_BYTES)
    assert yard.sweep() == {"failures": 1, "forms_ended": 1}
    assert second.fields["key"] not in yard.sources.objects
    assert yard.monitor.defect_facts == [{"client": "acme"}]
    yard.sweeper = usual
    assert yard.sweep() == {"forms_ended": 1}
    assert yard.sources.objects == {}


def test_due_deliveries_are_sent(yard: Yard) -> None:
    due = a_delivery(next_at=yard.clock())
    yard.deliveries.add(due)
    yard.deliveries.add(a_delivery(next_at=yard.clock() + timedelta(hours=1)))
    assert yard.sweep() == {"deliveries_sent": 1}
    assert yard.outbox.sent == [due]


def expire(yard: Yard, days: int, client_id: str = "acme") -> Study:
    """Add a study of an age in days, which its id tells, too."""
    from tests.integration.tenants.test_retention import made_at  # noqa: PLC0415

    made = yard.clock() - timedelta(days=days)
    study = a_study(id=made_at(made), created_at=made)
    yard.studies.place(client_id, study)
    return study


def test_each_client_s_studies_are_erased_when_its_own_time_is_over(yard: Yard) -> None:
    yard.directory.put(a_client("brief", retention_days=7))
    brief = [expire(yard, days, "brief") for days in (9, 8, 6)]
    usual = [expire(yard, days) for days in (31, 9)]
    assert yard.sweep() == {"expired": 3}
    assert [yard.studies.get("brief", one.id).status for one in brief] == [
        StudyStatus.DELETED,
        StudyStatus.DELETED,
        StudyStatus.SUCCEEDED,
    ]
    assert [yard.studies.get("acme", one.id).status for one in usual] == [
        StudyStatus.DELETED,
        StudyStatus.SUCCEEDED,
    ]
    assert yard.sweep() == {}


def test_a_shorter_retention_holds_for_what_is_there(yard: Yard) -> None:
    study = expire(yard, 9)
    assert yard.sweep() == {}
    yard.directory.put(yard.client.model_copy(update={"retention_days": 7}))
    assert yard.sweep() == {"expired": 1}
    assert yard.studies.get("acme", study.id).status is StudyStatus.DELETED


def test_a_run_erases_all_that_time_allows_and_the_next_goes_on(yard: Yard) -> None:
    yard.directory.put(a_client("zoo"))
    total = 2 * STUDIES + 5
    for _ in range(total):
        expire(yard, 40)
    lonely = expire(yard, 40, "zoo")
    slow = SlowErasure(yard, seconds=0.3)
    yard.sweeper = replace(yard.sweeper, retention=replace(yard.expiry, erasure=slow))
    first = yard.sweep()["expired"]
    assert 100 < first < total
    # One client's heap does not keep the other waiting for its end.
    assert yard.studies.get("zoo", lonely.id).status is StudyStatus.DELETED
    assert first + yard.sweep()["expired"] == total + 1
    assert yard.sweep() == {}


class PickyErasure(ErasureService):
    """Cannot erase some studies, whatever is tried."""

    def __init__(self, yard: Yard, *bad: Study) -> None:
        inner = yard.erasure
        super().__init__(inner.erasure, inner.documents, inner.sources)
        object.__setattr__(self, "_bad", {study.id for study in bad})

    _bad: set[str]

    def erase(self, client_id: str, study_id: str) -> None:
        if study_id in self._bad:
            raise ValueError("a row that nobody can read")
        super().erase(client_id, study_id)


def picky(yard: Yard, *bad: Study) -> None:
    yard.sweeper = replace(
        yard.sweeper, retention=replace(yard.expiry, erasure=PickyErasure(yard, *bad))
    )


def test_a_study_that_cannot_be_erased_holds_up_nobody(yard: Yard) -> None:
    yard.directory.put(a_client("zoo"))
    good, bad, after = (expire(yard, days) for days in (50, 45, 40))
    lonely = expire(yard, 40, "zoo")
    picky(yard, bad)
    assert yard.sweep() == {"failures": 1, "expired": 3}
    for client_id, study in (("acme", good), ("acme", after), ("zoo", lonely)):
        assert yard.studies.get(client_id, study.id).status is StudyStatus.DELETED
    assert yard.monitor.defect_facts == [{"client": "acme", "study_id": bad.id}]
    # It comes again in each run, and nothing else does.
    assert yard.sweep() == {"failures": 1}
    picky(yard)
    assert yard.sweep() == {"expired": 1}
    assert yard.studies.get("acme", bad.id).status is StudyStatus.DELETED
    assert yard.sweep() == {}


def test_a_client_of_nothing_but_bad_studies_does_not_stop_the_next(yard: Yard) -> None:
    yard.directory.put(a_client("zoo"))
    bad = [expire(yard, 40) for _ in range(STUDIES + 5)]
    lonely = expire(yard, 40, "zoo")
    picky(yard, *bad)
    for _ in range(3):
        yard.sweep()
    assert yard.studies.get("zoo", lonely.id).status is StudyStatus.DELETED
    picky(yard)
    for _ in range(3):
        yard.sweep()
    assert {yard.studies.get("acme", one.id).status for one in bad} == {StudyStatus.DELETED}


def test_a_client_whose_studies_cannot_be_found_does_not_stop_the_next(yard: Yard) -> None:
    class Gaps(FakeRetentionStore):
        def old(self, client_id: str, before: datetime, at_most: int) -> tuple[str, ...]:
            if client_id == "acme":
                raise StorageUnavailable("The table does not answer.")
            return super().old(client_id, before, at_most)

    for number in range(CLIENTS + 1):
        yard.directory.put(a_client(f"zoo{number:02}"))
    expire(yard, 40, f"zoo{CLIENTS}")
    store = Gaps(yard.directory, yard.studies)
    yard.sweeper = replace(yard.sweeper, retention=replace(yard.expiry, store=store))
    assert yard.sweep() == {"failures": 1, "expired": 1}
    assert yard.monitor.defect_facts == [{"client": "acme", "study_id": None}]


def put_report(yard: Yard, days: int) -> str:
    """Store a report that no row names, of an age in days."""
    from tests.integration.tenants.test_retention import made_at  # noqa: PLC0415

    study_id = made_at(yard.clock() - timedelta(days=days))
    yard.documents.put("acme", study_id, REPORT_NAME, b"%PDF")
    return study_id


def test_documents_that_no_row_names_go_when_their_time_is_over(yard: Yard) -> None:
    put_report(yard, 31)
    young = put_report(yard, 29)
    assert yard.sweep() == {"strays": 1}
    assert yard.documents.names() == [f"clients/acme/studies/{young}/{REPORT_NAME}"]
    # It looks again a day later, and not before.
    put_report(yard, 31)
    yard.wait(LOOK_EVERY - timedelta(seconds=1))
    assert yard.sweep() == {}
    yard.wait(timedelta(seconds=1))
    assert yard.sweep() == {"strays": 1}
    yard.wait(timedelta(days=1))
    assert yard.sweep() == {"strays": 1}
    assert yard.documents.names() == []


def test_documents_go_even_if_their_row_cannot(yard: Yard) -> None:
    bad = expire(yard, 40)
    yard.documents.put("acme", bad.id, REPORT_NAME, b"%PDF")
    picky(yard, bad)
    assert yard.sweep() == {"failures": 2}
    assert yard.documents.names() == []


def test_strays_that_time_does_not_allow_for_are_the_next_run_s(yard: Yard) -> None:
    for _ in range(200):
        put_report(yard, 40)
    slow = SlowErasure(yard, seconds=0.3)
    yard.sweeper = replace(yard.sweeper, retention=replace(yard.expiry, erasure=slow))
    first = yard.sweep()["strays"]
    assert 100 < first < 200
    assert first + yard.sweep()["strays"] == 200
    assert yard.sweep() == {}


class SlowErasure(ErasureService):
    """Takes some seconds each time."""

    def __init__(self, yard: Yard, seconds: float) -> None:
        inner = yard.erasure
        super().__init__(inner.erasure, inner.documents, inner.sources)
        object.__setattr__(self, "_wait", lambda: yard.clock.advance(seconds))

    _wait: object

    def erase(self, client_id: str, study_id: str) -> None:
        self._wait()  # type: ignore[operator]
        super().erase(client_id, study_id)


def test_a_part_that_fails_does_not_stop_the_others(yard: Yard) -> None:
    class Deaf(type(yard.queue)):  # type: ignore[misc]
        def send(self, message: Message, *, bulk: bool) -> None:
            raise StorageUnavailable("The queue does not answer.")

    yard.enqueue(IMAGE, IMAGE + b"2")
    yard.rung()
    expire(yard, 31)
    yard.deliveries.add(a_delivery(next_at=yard.clock()))
    yard.sweeper = replace(yard.sweeper, queue=Deaf())
    yard.wait(PATIENCE)
    assert yard.sweep() == {"failures": 2, "deliveries_sent": 1, "expired": 1}
    assert [event for event, _ in yard.monitor.defects] == ["sweep", "sweep"]
    # Nothing was noted for the messages that did not go out.
    assert all(job.rings == 0 for job in yard.jobs.jobs.values())


def test_it_tells_the_age_of_the_oldest_job(yard: Yard) -> None:
    yard.enqueue(IMAGE)
    yard.wait(timedelta(minutes=2))
    yard.sweep()
    assert ("OldestJob", 120.0, {}) in yard.monitor.values
    assert yard.the_study().status is StudyStatus.QUEUED
