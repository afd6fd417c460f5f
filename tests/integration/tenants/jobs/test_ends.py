"""One contract for both job stores: how a study ends, and that an erased one does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.domain import LEASE, Quota, StudyStatus, new_id
from chalicelib.tenants import records
from tests.fakes.values import NOON, a_caller, a_client, a_key, a_plan
from tests.integration.tenants.jobs.conftest import EVER, Queue, a_delivery, on_dynamodb

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


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
