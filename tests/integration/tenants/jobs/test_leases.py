"""One contract for both job stores: who may work on a study, and who no longer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from chalicelib.domain import LEASE, Job, StudyStatus
from chalicelib.tenants.jobs import DynamoJobStore
from tests.fakes.values import NOON
from tests.integration.tenants.jobs.conftest import EVER, Queue, on_dynamodb

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table


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
