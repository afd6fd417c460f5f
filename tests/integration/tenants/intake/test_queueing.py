"""One contract for queued studies: metered, one for each key, also by many at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from chalicelib.errors import IdempotencyConflict, QuotaExceeded
from chalicelib.tenants import records
from tests.fakes.clock import FixedClock
from tests.fakes.values import NOON, a_caller, a_client, a_key, a_plan, a_study
from tests.integration.tenants.conftest import isolate_transactions, make_table
from tests.integration.tenants.intake.conftest import Stores, a_word, an_upload, stores_on

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


def test_a_queued_study_is_stored_metered_and_has_a_job(stores: Stores) -> None:
    study = stores.enqueue()
    assert stores.studies.get("acme", study.id) == study
    assert stores.used() == 1
    job = stores.jobs.begin("acme", study.id)
    assert job is not None
    assert (job.object_name, job.metered_at) == (f"uploads/acme/{study.id}-f00d", NOON)
    assert job.metered_period == NOON.replace(day=1, hour=0)


def test_a_queued_test_study_meters_nothing(stores: Stores) -> None:
    study = stores.enqueue(a_caller(key=a_key(mode="test")))
    assert (stores.stored(), stores.used()) == (1, 0)
    job = stores.jobs.begin("acme", study.id)
    assert job is not None
    assert (job.mode, job.metered_at) == ("test", None)


def test_without_a_unit_nothing_is_stored(stores: Stores) -> None:
    caller = a_caller(a_client(plan=a_plan(studies=1)))
    first = stores.enqueue(caller)
    with pytest.raises(QuotaExceeded) as refused:
        stores.enqueue(caller, idempotency=a_word())
    assert refused.value.retry_after == 12.5 * 24 * 3600  # from the 18th, noon, to the 1st
    assert (stores.stored(), stores.used(), stores.stuck()) == (1, 1, [first.id])
    assert stores.intake.known("acme", a_word()) is None


def test_a_key_makes_one_study(stores: Stores) -> None:
    assert stores.intake.known("acme", a_word()) is None
    first = stores.enqueue(idempotency=a_word())
    assert stores.enqueue(idempotency=a_word()) == first
    assert stores.intake.known("acme", a_word()) == first
    assert (stores.stored(), stores.used(), stores.stuck()) == (1, 1, [first.id])


def test_a_key_is_good_for_the_last_unit_and_for_its_upload(stores: Stores) -> None:
    caller, upload = a_caller(a_client(plan=a_plan(studies=1))), an_upload()
    stores.intake.add_upload(upload)
    asked: dict[str, Any] = {"idempotency": a_word(), "upload_id": upload.id}
    assert stores.enqueue(caller, **asked) == stores.enqueue(caller, **asked)
    assert (stores.stored(), stores.used()) == (1, 1)


def test_a_key_for_another_request_is_a_conflict(stores: Stores) -> None:
    stores.enqueue(idempotency=a_word())
    other = a_word(request="b")
    with pytest.raises(IdempotencyConflict):
        stores.intake.known("acme", other)
    with pytest.raises(IdempotencyConflict):
        stores.enqueue(idempotency=other)
    assert (stores.stored(), stores.used()) == (1, 1)


def test_clients_do_not_share_keys(stores: Stores) -> None:
    stores.enqueue(idempotency=a_word())
    other = a_caller(a_client("other"))
    assert stores.intake.known("other", a_word()) is None
    stores.enqueue(other, idempotency=a_word())
    assert (stores.used(), stores.used(other)) == (1, 1)


def test_a_key_is_new_again_after_a_day(stores: Stores) -> None:
    first = stores.enqueue(idempotency=a_word())
    stores.clock.advance(24 * 3600 - 1)
    assert stores.enqueue(idempotency=a_word()) == first
    stores.clock.advance(1)
    assert stores.intake.known("acme", a_word()) is None
    assert stores.enqueue(idempotency=a_word(request="b")).id != first.id
    assert (stores.stored(), stores.used()) == (2, 2)


def test_a_key_follows_its_study(stores: Stores) -> None:
    study = stores.enqueue(idempotency=a_word())
    job = stores.jobs.begin("acme", study.id)
    assert job is not None
    done = a_study(id=study.id, created_at=study.created_at)
    assert stores.jobs.finish(job, done)
    assert stores.intake.known("acme", a_word()) == done


@settings(max_examples=8, deadline=None)
@given(parallel=st.integers(2, 10), used=st.integers(0, 4), left=st.integers(0, 10))
def test_of_n_parallel_requests_with_m_units_left_the_smaller_number_is_queued(
    parallel: int, used: int, left: int
) -> None:
    with mock_aws():
        table = make_table()
        conflicts = isolate_transactions(table)
        stores = stores_on(table, FixedClock(NOON))
        client = a_client(plan=a_plan(studies=max(1, used + left)))
        before = client.plan.studies.limit - left
        for _ in range(before):
            stores.enqueue(a_caller(client))

        def try_one(_: int) -> bool:
            try:
                stores.enqueue(a_caller(client, a_key()))
            except QuotaExceeded:
                return False
            return True

        with ThreadPoolExecutor(parallel) as threads:
            queued = sum(threads.map(try_one, range(parallel)))

        assert queued == min(parallel, left), f"{len(conflicts)} conflicts"
        assert stores.used(a_caller(client)) == before + queued
        assert stores.stored() == len(stores.stuck()) == before + queued


@settings(max_examples=6, deadline=None)
@given(parallel=st.integers(2, 10), units=st.integers(1, 3), upload=st.booleans())
def test_one_key_in_parallel_requests_is_one_study_and_one_unit(
    parallel: int, units: int, *, upload: bool
) -> None:
    with mock_aws():
        table = make_table()
        isolate_transactions(table)
        stores = stores_on(table, FixedClock(NOON))
        caller = a_caller(a_client(plan=a_plan(studies=units)))
        asked: dict[str, Any] = {"idempotency": a_word()}
        if upload:
            to_use = an_upload()
            stores.intake.add_upload(to_use)
            asked["upload_id"] = to_use.id
        with ThreadPoolExecutor(parallel) as threads:
            made = list(threads.map(lambda _: stores.enqueue(caller, **asked), range(parallel)))
        assert len({study.id for study in made}) == 1
        assert (stores.stored(), stores.used(caller), len(stores.stuck())) == (1, 1, 1)


def test_an_idempotency_key_is_kept_as_its_hash_and_for_a_day(table: Table) -> None:
    stores = stores_on(table, FixedClock(NOON))
    stores.enqueue(idempotency=a_word("patient-4711"))
    assert "4711" not in str(table.scan()["Items"])
    [row] = [item for item in table.scan()["Items"] if str(item["sk"]).startswith("ONCE#")]
    assert row[records.FORGOTTEN_AT] == NOON.timestamp() + 24 * 3600
