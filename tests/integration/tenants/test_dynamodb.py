"""What only the DynamoDB adapters can show: concurrency, failures, and the shape of records."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from chalicelib.domain import StudyStatus
from chalicelib.errors import QuotaExceeded, RadgateError, StorageUnavailable
from chalicelib.tenants import records
from chalicelib.tenants.directory import DynamoDirectory
from chalicelib.tenants.ledger import DynamoLedger
from chalicelib.tenants.studies import DynamoStudyStore
from chalicelib.tenants.transactions import TRIES
from tests.fakes.clock import FixedClock
from tests.fakes.values import NOON, a_caller, a_client, a_key, a_plan, a_study
from tests.integration.tenants.conftest import isolate_transactions, make_table, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb.service_resource import Table

CLOCK = FixedClock(NOON)


@settings(max_examples=10, deadline=None)
@given(parallel=st.integers(2, 10), used=st.integers(0, 4), left=st.integers(0, 10))
def test_with_n_parallel_studies_and_m_units_left_exactly_the_smaller_number_succeeds(
    parallel: int, used: int, left: int
) -> None:
    with mock_aws():
        table = make_table()
        conflicts = isolate_transactions(table)
        client = a_client(plan=a_plan(studies=max(1, used + left)))
        store, ledger = DynamoStudyStore(table, CLOCK), DynamoLedger(table, CLOCK)
        limit = client.plan.studies.limit
        for _ in range(limit - left):
            store.add(a_caller(client), a_study())

        def try_one(_: int) -> bool:
            try:
                store.add(a_caller(client, a_key()), a_study())
            except QuotaExceeded:
                return False
            return True

        with ThreadPoolExecutor(parallel) as threads:
            succeeded = sum(threads.map(try_one, range(parallel)))

        assert succeeded == min(parallel, left), f"{len(conflicts)} conflicts"
        assert ledger.usage(client).used == limit - left + succeeded
        assert len(store.page(client.id, 100, None, None).items) == limit - left + succeeded


def test_the_isolation_of_these_tests_does_make_conflicts(table: Table) -> None:
    conflicts = isolate_transactions(table, meeting=True)
    store, caller = DynamoStudyStore(table, CLOCK), a_caller()
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda _: store.add(caller, a_study()), range(30)))
    assert conflicts
    assert DynamoLedger(table, CLOCK).usage(caller.client).used == 30


def refuse_all(table: Table, code: str, calls: list[str], **body: object) -> None:
    """Let the table answer every call with an error."""

    def serve(event_name: str, **_: object) -> Any:
        calls.append(event_name.rsplit(".", 1)[-1])
        return refusal({"__type": code, "message": "secret-detail", **body})

    table.meta.client.meta.events.register_first("before-send.dynamodb.*", serve)


def test_endless_conflicts_end_in_storage_unavailable(table: Table) -> None:
    calls, pauses = list[str](), list[float]()
    reasons = [{"Code": "None"}, {"Code": "TransactionConflict"}]
    refuse_all(table, "TransactionCanceledException", calls, CancellationReasons=reasons)
    with pytest.raises(StorageUnavailable):
        DynamoStudyStore(table, CLOCK, pauses.append).add(a_caller(), a_study())
    assert calls == ["TransactWriteItems"] * TRIES
    assert len(set(pauses)) == TRIES  # jitter
    assert all(0 <= pause <= 0.8 for pause in pauses)


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "ValidationException"])
@pytest.mark.parametrize(
    "use",
    [
        lambda table: DynamoDirectory(table).identify("0" * 64),
        lambda table: DynamoDirectory(table).keys("acme"),
        lambda table: DynamoDirectory(table).note_use(a_key(), NOON),
        lambda table: DynamoLedger(table, CLOCK).usage(a_client()),
        lambda table: DynamoStudyStore(table, CLOCK).add(a_caller(), a_study()),
        lambda table: DynamoStudyStore(table, CLOCK).get("acme", a_study().id),
        lambda table: DynamoStudyStore(table, CLOCK).page("acme", 5, None, None),
        lambda table: DynamoStudyStore(table, CLOCK).page("acme", 5, None, StudyStatus.QUEUED),
    ],
    ids=["identify", "keys", "note use", "usage", "add", "get", "page", "page by status"],
)
def test_every_failure_of_the_table_is_translated(
    table: Table, use: Callable[[Table], object], code: str
) -> None:
    refuse_all(table, code, [])
    with pytest.raises(RadgateError) as raised:
        use(table)
    assert isinstance(raised.value, StorageUnavailable)
    assert "secret-detail" not in raised.value.detail


def test_an_unreachable_table_is_translated(table: Table) -> None:
    def fail(**_: object) -> None:
        raise EndpointConnectionError(endpoint_url="https://dynamodb.example")

    table.meta.client.meta.events.register_first("before-send.dynamodb.*", fail)
    with pytest.raises(StorageUnavailable):
        DynamoStudyStore(table, CLOCK).get("acme", a_study().id)


def test_units_are_also_counted_by_day(table: Table) -> None:
    store, caller = DynamoStudyStore(table, CLOCK), a_caller()
    for day in (18, 18, 19):
        store.add(caller, a_study(created_at=NOON.replace(day=day)))
    [item] = [item for item in table.scan()["Items"] if str(item["sk"]).startswith("USAGE#")]
    assert item == {
        "pk": "CLIENT#acme",
        "sk": "USAGE#2026-11-01",
        "used": 3,
        "2026-11-18": 2,
        "2026-11-19": 1,
    }


def test_a_page_by_status_leaves_out_what_the_index_has_not_caught_up_with(table: Table) -> None:
    store, caller = DynamoStudyStore(table, CLOCK), a_caller()
    studies = [a_study(status=StudyStatus.QUEUED) for _ in range(2)]
    for study in studies:
        store.add(caller, study)
    # The record has moved on, its place in the index has not.
    done = records.study_item(
        "acme", studies[0].model_copy(update={"status": StudyStatus.SUCCEEDED})
    )
    stale = records.status_partition("acme", StudyStatus.QUEUED)
    table.put_item(Item=done | {"gsi1pk": stale})
    page = store.page("acme", 10, None, StudyStatus.QUEUED)
    assert page.items == (studies[1],)


def test_records_of_a_newer_release_can_be_read(table: Table) -> None:
    client, key, study = a_client(), a_key(), a_study()
    document = json.loads(records.study_item("acme", study)["document"]) | {"laterality": "L"}
    plan = json.loads(client.plan.model_dump_json()) | {"discount": "9.90"}
    table.put_item(Item=records.client_item(client) | {"plan": json.dumps(plan), "tier": 3})
    for item in records.api_key_items(key):
        table.put_item(Item=item | {"colour": "blue"})
    table.put_item(
        Item=records.study_item("acme", study) | {"document": json.dumps(document), "queue": "a"}
    )
    caller = DynamoDirectory(table).identify(key.sha256)
    assert caller is not None
    assert (caller.client, caller.key) == (client, key)
    assert DynamoStudyStore(table, CLOCK).get("acme", study.id) == study


def test_no_request_scans(table: Table) -> None:
    calls = list[str]()

    def note(event_name: str, **_: object) -> None:
        calls.append(event_name.rsplit(".", 1)[-1])

    table.meta.client.meta.events.register_first("before-send.dynamodb.*", note)
    store, caller = DynamoStudyStore(table, CLOCK), a_caller()
    study = a_study()
    store.add(caller, study)
    store.get("acme", study.id)
    store.page("acme", 5, None, None)
    store.page("acme", 5, None, study.status)
    DynamoDirectory(table).identify(caller.key.sha256)
    DynamoDirectory(table).keys("acme")
    DynamoDirectory(table).note_use(caller.key, NOON)
    DynamoLedger(table, CLOCK).usage(caller.client)
    assert calls == [
        "TransactWriteItems",
        "GetItem",
        "Query",
        "Query",
        "BatchGetItem",
        "GetItem",
        *("Query", "Query"),
        "UpdateItem",
        "GetItem",
    ]
