"""One contract for both job stores, and: whatever several workers do, a study ends once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from moto import mock_aws

from chalicelib.domain import LEASE, Delivery, Job, Quota, StudyStatus, new_id
from chalicelib.tenants import records
from chalicelib.tenants.erasure import DynamoErasure
from chalicelib.tenants.intake import DynamoIntake
from chalicelib.tenants.jobs import DynamoJobStore
from chalicelib.tenants.ledger import DynamoLedger
from chalicelib.tenants.studies import DynamoStudyStore
from tests.fakes.clock import FixedClock
from tests.fakes.jobs import FakeJobStore
from tests.fakes.tenants import FakeLedger, FakeStudyStore
from tests.fakes.values import NOON, a_caller, a_client, a_key, a_plan, a_study
from tests.integration.tenants.conftest import make_table

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.domain import Caller, Study
    from chalicelib.ports import JobStore, Ledger, StudyStore

QUEUED = {"status": StudyStatus.QUEUED, "completed_at": None, "label": None, "findings": ()}
# The age of a job is read from its id, which is made by the real clock.
EVER = NOON + timedelta(days=36500)
NOTHING_YET = {"model": None, "image": None, "quality": None}


class Enqueue(Protocol):
    def __call__(self, caller: Caller, study: Study, job: Job) -> None: ...


class Erase(Protocol):
    def __call__(self, study: Study) -> None: ...


@dataclass
class Queue:
    """A job store with the way in and the way out."""

    jobs: JobStore
    studies: StudyStore
    ledger: Ledger
    clock: FixedClock
    put: Enqueue
    erase: Erase

    def enqueue(self, caller: Caller | None = None) -> Job:
        caller = caller or a_caller()
        now = self.clock()
        study = a_study(**QUEUED, **NOTHING_YET, created_at=now, mode=caller.key.mode)
        job = Job(
            study_id=study.id,
            client_id=caller.client.id,
            mode=caller.key.mode,
            object_name=f"uploads/acme/{study.id}",
            created_at=now,
            metered_at=now if caller.key.mode == "live" else None,
            request_id="request 1",
        )
        self.put(caller, study, job)
        return job

    def begin(self, job: Job) -> Job:
        leased = self.jobs.begin(job.client_id, job.study_id)
        assert leased is not None
        return leased

    def study(self, job: Job) -> Study:
        return self.studies.get(job.client_id, job.study_id)

    def used(self) -> int:
        return self.ledger.usage(a_client()).used

    def result(self, job: Job, status: StudyStatus = StudyStatus.SUCCEEDED) -> Study:
        done = a_study(id=job.study_id, created_at=job.created_at, mode=job.mode)
        return done.model_copy(update={"status": status})


def on_fakes() -> Queue:
    clock = FixedClock(NOON)
    ledger = FakeLedger(clock)
    studies = FakeStudyStore(ledger)
    jobs = FakeJobStore(studies, ledger, clock)

    def put(caller: Caller, study: Study, job: Job) -> None:
        if job.metered_at is not None:
            ledger.meter(caller.client, job.metered_at)
            period = ledger.usage(caller.client).period_start
            job = job.model_copy(update={"metered_period": period})
        studies.place(caller.client.id, study)
        jobs.jobs[study.id] = job

    def erase(study: Study) -> None:
        studies.place("acme", study.model_copy(update={"status": StudyStatus.DELETED}))
        if study.id in jobs.jobs:
            jobs.jobs[study.id] = jobs.jobs[study.id].model_copy(update={"lease": None})

    return Queue(jobs, studies, ledger, clock, put, erase)


def on_dynamodb(table: Table) -> Queue:
    clock = FixedClock(NOON)
    intake = DynamoIntake(table, clock)
    erasure = DynamoErasure(table, clock)

    def put(caller: Caller, study: Study, job: Job) -> None:
        intake.enqueue(caller, study, job)

    def erase(study: Study) -> None:
        erasure.begin("acme", study.id)

    return Queue(
        DynamoJobStore(table, clock),
        DynamoStudyStore(table, clock),
        DynamoLedger(table, clock),
        clock,
        put,
        erase,
    )


@pytest.fixture(params=["fake", "dynamodb"])
def queue(request: pytest.FixtureRequest) -> Queue:
    if request.param == "fake":
        return on_fakes()
    return on_dynamodb(request.getfixturevalue("table"))


def a_delivery(job: Job, channel: str = "mail") -> Delivery:
    return Delivery.model_validate(
        {
            "id": new_id("evt"),
            "client_id": job.client_id,
            "channel": channel,
            "kind": "study.succeeded",
            "study_id": job.study_id,
            "created_at": NOON,
            "next_at": NOON,
        }
    )


def test_a_study_is_begun_by_one_worker_and_runs(queue: Queue) -> None:
    job = queue.enqueue()
    leased = queue.begin(job)
    assert (leased.attempt, leased.leased_until) == (1, NOON + LEASE)
    assert leased.lease
    assert (leased.object_name, leased.request_id) == (job.object_name, "request 1")
    assert queue.study(job).status is StudyStatus.RUNNING
    assert queue.jobs.begin("acme", job.study_id) is None
    assert queue.used() == 1


def test_a_lease_runs_out_and_the_next_worker_has_another_word(queue: Queue) -> None:
    first = queue.begin(queue.enqueue())
    queue.clock.advance(LEASE.total_seconds() - 0.001)
    assert queue.jobs.begin("acme", first.study_id) is None
    queue.clock.advance(0.001)
    second = queue.begin(first)
    assert second.attempt == 2
    assert second.lease != first.lease
    assert not queue.jobs.finish(first, queue.result(first))
    assert not queue.jobs.fail(first, queue.result(first, StudyStatus.FAILED))
    assert queue.study(first).status is StudyStatus.RUNNING
    assert queue.jobs.finish(second, queue.result(second))


def test_a_renewed_lease_begins_anew(queue: Queue) -> None:
    first = queue.begin(queue.enqueue())
    queue.clock.advance(LEASE.total_seconds() - 1)
    renewed = queue.jobs.renew(first)
    assert renewed is not None
    assert renewed.leased_until == queue.clock() + LEASE
    assert (renewed.lease, renewed.attempt) == (first.lease, first.attempt)
    queue.clock.advance(LEASE.total_seconds() - 1)
    assert queue.jobs.begin("acme", first.study_id) is None
    assert list(queue.jobs.stuck(EVER)) == []
    assert queue.jobs.finish(renewed, queue.result(renewed))
    assert queue.jobs.renew(renewed) is None


def test_who_lost_a_lease_cannot_renew_it(queue: Queue) -> None:
    first = queue.begin(queue.enqueue())
    queue.clock.advance(LEASE.total_seconds())
    second = queue.begin(first)
    assert queue.jobs.renew(first) is None
    assert queue.jobs.finish(second, queue.result(second))


def test_the_lease_of_an_erased_study_is_not_renewed(queue: Queue) -> None:
    leased = queue.begin(queue.enqueue())
    queue.erase(queue.study(leased))
    assert queue.jobs.renew(leased) is None


def test_a_released_study_is_free_at_once(queue: Queue) -> None:
    first = queue.begin(queue.enqueue())
    queue.jobs.release(first)
    assert queue.study(first).status is StudyStatus.RUNNING
    assert queue.begin(first).attempt == 2


def test_who_lost_the_lease_cannot_release_another_s(queue: Queue) -> None:
    first = queue.begin(queue.enqueue())
    queue.clock.advance(LEASE.total_seconds())
    second = queue.begin(first)
    queue.jobs.release(first)
    assert queue.jobs.begin("acme", first.study_id) is None
    assert queue.jobs.finish(second, queue.result(second))


def test_the_end_is_stored_as_it_is_and_for_good(queue: Queue) -> None:
    leased = queue.begin(queue.enqueue())
    result = queue.result(leased)
    assert queue.jobs.ended("acme", leased.study_id) is None
    assert queue.jobs.finish(leased, result, [a_delivery(leased), a_delivery(leased, "webhook")])
    assert queue.study(leased) == result
    ended = queue.jobs.ended("acme", leased.study_id)
    assert ended is not None
    assert (ended.study, ended.object_name) == (result, leased.object_name)
    assert ended.attempts == 1
    assert not queue.jobs.finish(leased, result)
    assert not queue.jobs.fail(leased, result)
    assert queue.jobs.begin("acme", leased.study_id) is None
    assert list(queue.jobs.stuck(EVER)) == []
    assert queue.used() == 1


def test_a_failure_gives_the_unit_back_once(queue: Queue) -> None:
    queue.enqueue()
    leased = queue.begin(queue.enqueue())
    assert queue.used() == 2
    failed = queue.result(leased, StudyStatus.FAILED)
    assert queue.jobs.fail(leased, failed)
    assert not queue.jobs.fail(leased, failed)
    assert queue.used() == 1
    assert queue.study(leased).status is StudyStatus.FAILED


def test_a_test_study_that_fails_gives_nothing_back(queue: Queue) -> None:
    queue.enqueue()
    leased = queue.begin(queue.enqueue(a_caller(key=a_key(mode="test"))))
    assert queue.used() == 1
    assert queue.jobs.fail(leased, queue.result(leased, StudyStatus.FAILED))
    assert queue.used() == 1


def test_the_unit_goes_back_where_it_was_charged_after_a_change_of_plan(queue: Queue) -> None:
    daily = a_plan().model_copy(update={"studies": Quota(limit=5, period="day")})
    leased = queue.begin(queue.enqueue(a_caller(a_client(plan=daily))))
    queue.clock.advance(20 * 24 * 3600)  # into the next month; the plan is monthly by now
    again = queue.begin(leased)
    assert queue.jobs.fail(again, queue.result(again, StudyStatus.FAILED))
    assert queue.used() == 0
    queue.clock.now = NOON
    assert queue.ledger.usage(a_client(plan=daily)).used == 0


def test_the_day_that_an_invoice_reads_is_given_back_too(table: Table) -> None:
    queue = on_dynamodb(table)
    leased = queue.begin(queue.enqueue())
    key = records.usage_key("acme", NOON.replace(day=1, hour=0))
    assert table.get_item(Key=key)["Item"]["2026-11-18"] == 1
    queue.clock.advance(24 * 3600)
    again = queue.begin(leased)
    assert queue.jobs.fail(again, queue.result(again, StudyStatus.FAILED))
    counters = table.get_item(Key=key)["Item"]
    assert (counters["used"], counters["2026-11-18"]) == (0, 0)
    assert "2026-11-19" not in counters


def test_deliveries_lie_in_the_table_when_the_result_does(table: Table) -> None:
    queue = on_dynamodb(table)
    leased = queue.begin(queue.enqueue())
    delivery = a_delivery(leased)
    assert queue.jobs.finish(leased, queue.result(leased), [delivery])
    key = records.delivery_key("acme", delivery.id, "mail")
    assert records.delivery_of(table.get_item(Key=key)["Item"]) == delivery


def test_an_erased_study_is_never_begun_nor_ended(queue: Queue) -> None:
    leased = queue.begin(queue.enqueue())
    queue.erase(queue.study(leased))
    assert not queue.jobs.finish(leased, queue.result(leased))
    assert not queue.jobs.fail(leased, queue.result(leased, StudyStatus.FAILED))
    queue.clock.advance(LEASE.total_seconds())
    assert queue.jobs.begin("acme", leased.study_id) is None
    assert queue.study(leased).status is StudyStatus.DELETED
    ended = queue.jobs.ended("acme", leased.study_id)
    assert ended is not None
    assert ended.study.status is StudyStatus.DELETED
    assert queue.used() == 1


def test_an_erased_study_stays_in_the_sweeper_s_sight(queue: Queue) -> None:
    leased = queue.begin(queue.enqueue())
    queue.erase(queue.study(leased))
    assert list(queue.jobs.stuck(EVER)) == []  # the worker may still be at it
    queue.clock.advance(LEASE.total_seconds())
    [found] = queue.jobs.stuck(EVER)
    assert (found.study_id, found.object_name) == (leased.study_id, leased.object_name)


def test_unknown_studies_and_those_of_others_are_nothing_to_do(queue: Queue) -> None:
    job = queue.enqueue()
    assert queue.jobs.begin("acme", new_id("st")) is None
    assert queue.jobs.begin("other", job.study_id) is None
    assert queue.jobs.ended("other", job.study_id) is None
    assert queue.begin(job).attempt == 1


def test_a_job_whose_study_went_with_its_client_is_dropped(table: Table) -> None:
    queue = on_dynamodb(table)
    job = queue.enqueue()
    table.delete_item(Key=records.study_key("acme", job.study_id))
    assert queue.jobs.begin("acme", job.study_id) is None
    assert "Item" not in table.get_item(Key=records.job_key(job.study_id))


def test_a_lease_that_is_renewed_while_another_begins_stays_where_it_is(table: Table) -> None:
    queue = on_dynamodb(table)
    leased = queue.begin(queue.enqueue())
    queue.clock.advance(LEASE.total_seconds() - 1)
    renewed: list[Job | None] = []

    def late() -> datetime:
        """Tell the time to who has just read the job, whose worker renews it at this moment."""
        renewed.append(queue.jobs.renew(leased))
        return NOON + LEASE

    assert DynamoJobStore(table, late).begin("acme", leased.study_id) is None
    [held] = renewed
    assert held is not None
    assert queue.jobs.finish(held, queue.result(held))
    assert queue.study(leased).status is StudyStatus.SUCCEEDED


def test_what_is_free_and_old_enough_is_stuck(queue: Queue) -> None:
    old = [queue.enqueue() for _ in range(5)]
    held = queue.begin(queue.enqueue())
    released = queue.begin(queue.enqueue())
    queue.jobs.release(released)
    found = {job.study_id for job in queue.jobs.stuck(EVER)}
    assert found == {job.study_id for job in [*old, released]}
    assert list(queue.jobs.stuck(NOON - timedelta(days=3650))) == []
    queue.clock.advance(LEASE.total_seconds())
    found = {job.study_id for job in queue.jobs.stuck(EVER)}
    assert held.study_id in found


def test_a_ring_is_noted_while_nothing_has_happened_since(queue: Queue) -> None:
    job = queue.enqueue()
    queue.jobs.note_ring(job, NOON)
    [noted] = queue.jobs.stuck(EVER)
    assert (noted.rings, noted.rung_at) == (1, NOON)
    leased = queue.begin(job)
    queue.jobs.note_ring(noted, NOON + timedelta(minutes=1))
    queue.jobs.release(leased)
    [noted] = queue.jobs.stuck(EVER)
    assert (noted.rings, noted.rung_at) == (1, NOON)
    queue.begin(job)


def test_the_waiting_are_counted_up_to_a_bound(queue: Queue) -> None:
    jobs = [queue.enqueue() for _ in range(4)]
    assert queue.jobs.waiting("acme", 10) == 4
    assert queue.jobs.waiting("acme", 3) == 3
    assert queue.jobs.waiting("other", 3) == 0
    queue.begin(jobs[0])
    assert queue.jobs.waiting("acme", 10) == 3


# --- any interleaving ---------------------------------------------------------------------

WORKERS = st.integers(0, 2)
ORDER = list(StudyStatus)


class Workers(RuleBasedStateMachine):
    """Three workers, one study; each keeps what it was given, long after it was taken away."""

    def make(self) -> Queue:
        return on_fakes()

    @initialize(mode=st.sampled_from(["live", "test"]))
    def arrive(self, mode: str) -> None:
        self.queue = self.make()
        self.mode = mode
        key = a_key(mode="live" if mode == "live" else "test")
        self.job = self.queue.enqueue(a_caller(key=key))
        self.held: dict[int, Job] = {}
        self.ends: list[StudyStatus] = []
        self.erased = False
        self.seen = StudyStatus.QUEUED

    @rule(worker=WORKERS)
    def begin(self, worker: int) -> None:
        leased = self.queue.jobs.begin("acme", self.job.study_id)
        if leased is not None:
            assert not self.ends
            assert not self.erased
            # Nobody else's lease is in force.
            now = self.queue.clock()
            others = (job for job in self.held.values() if job.leased_until is not None)
            assert all(job.leased_until is None or job.leased_until <= now for job in others)
            self.held[worker] = leased

    @rule(worker=WORKERS, status=st.sampled_from([StudyStatus.SUCCEEDED, StudyStatus.FAILED]))
    def end(self, worker: int, status: StudyStatus) -> None:
        if worker not in self.held:
            return
        job = self.held[worker]
        end = self.queue.jobs.finish if status is StudyStatus.SUCCEEDED else self.queue.jobs.fail
        if end(job, self.queue.result(job, status)):
            assert not self.erased
            self.ends.append(status)

    @rule(worker=WORKERS)
    def release(self, worker: int) -> None:
        if worker in self.held:
            job = self.held[worker]
            self.queue.jobs.release(job)
            # Given up: by this word nothing can be written any more.
            self.held[worker] = job.model_copy(update={"leased_until": None})

    @rule()
    def expire(self) -> None:
        self.queue.clock.advance(LEASE.total_seconds())

    @rule()
    def pass_time(self) -> None:
        self.queue.clock.advance(LEASE.total_seconds() / 2)

    @rule()
    def ring(self) -> None:
        for job in self.queue.jobs.stuck(EVER):
            self.queue.jobs.note_ring(job, self.queue.clock())

    @rule()
    def erase(self) -> None:
        self.queue.erase(self.queue.study(self.job))
        self.erased = True

    @invariant()
    def it_ends_once_and_is_charged_once(self) -> None:
        if not hasattr(self, "queue"):
            return
        assert len(self.ends) <= 1
        status = self.queue.study(self.job).status
        assert ORDER.index(status) >= ORDER.index(self.seen)
        assert not (self.seen is StudyStatus.SUCCEEDED and status is StudyStatus.FAILED)
        self.seen = status
        assert (status is StudyStatus.DELETED) == self.erased
        if self.ends and not self.erased:
            assert status is self.ends[0]
        charged = self.mode == "live" and self.ends != [StudyStatus.FAILED]
        self.queue.clock.now, now = NOON, self.queue.clock.now
        assert self.queue.used() == int(charged)
        self.queue.clock.now = now


class WorkersOnDynamodb(Workers):
    def __init__(self) -> None:
        super().__init__()
        self.account = mock_aws()
        self.account.start()

    def make(self) -> Queue:
        return on_dynamodb(make_table())

    def teardown(self) -> None:
        self.account.stop()


TestWorkersOnFakes = Workers.TestCase
TestWorkersOnFakes.settings = settings(max_examples=200, stateful_step_count=30)
TestWorkersOnDynamodb = WorkersOnDynamodb.TestCase
TestWorkersOnDynamodb.settings = settings(max_examples=15, stateful_step_count=25)
