"""One contract for the adapters and for the fakes that stand in for them elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from chalicelib.domain import HeatmapLink, Link, Quota, Study, StudyStatus
from chalicelib.errors import InvalidRequest, NotFound, QuotaExceeded
from chalicelib.tenants import records
from chalicelib.tenants.directory import DynamoDirectory
from chalicelib.tenants.ledger import DynamoLedger
from chalicelib.tenants.studies import DynamoStudyStore
from tests.fakes.clock import FixedClock
from tests.fakes.tenants import FakeDirectory, FakeLedger, FakeStudyStore
from tests.fakes.values import NOON, a_caller, a_client, a_key, a_plan, a_study

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.domain import ApiKey, Client
    from chalicelib.ports import Directory, Ledger, StudyStore


class Put(Protocol):
    def __call__(self, client: Client, *keys: ApiKey) -> None: ...


@dataclass
class Tenants:
    directory: Directory
    ledger: Ledger
    studies: StudyStore
    put: Put
    clock: FixedClock


@pytest.fixture(params=["fake", "dynamodb"])
def tenants(request: pytest.FixtureRequest) -> Tenants:
    clock = FixedClock(NOON)
    if request.param == "fake":
        directory, ledger = FakeDirectory(), FakeLedger(clock)
        return Tenants(directory, ledger, FakeStudyStore(ledger), directory.put, clock)
    table: Table = request.getfixturevalue("table")

    def put(client: Client, *keys: ApiKey) -> None:
        table.put_item(Item=records.client_item(client))
        for key in keys:
            table.delete_item(Key=records.api_key_key(key.client_id, key.id))
            for item in records.api_key_items(key):
                table.put_item(Item=item)

    return Tenants(
        DynamoDirectory(table),
        DynamoLedger(table, clock),
        DynamoStudyStore(table, clock),
        put,
        clock,
    )


# --- directory --------------------------------------------------------------------------


def test_a_key_is_identified_with_its_client(tenants: Tenants) -> None:
    client = a_client(usage_plan_id="plan1")
    key = a_key(expires_at=NOON, label="pacs", scopes=["studies:read"], gateway_key_id="gw1")
    tenants.put(client, key, a_key())
    caller = tenants.directory.identify(key.sha256)
    assert caller is not None
    assert (caller.client, caller.key) == (client, key)


def test_a_key_is_identified_whatever_its_state(tenants: Tenants) -> None:
    client, key = a_client(status="suspended"), a_key(revoked_at=NOON)
    tenants.put(client, key)
    caller = tenants.directory.identify(key.sha256)
    assert caller is not None
    assert caller.client.status == "suspended"
    assert caller.key.revoked_at == NOON


def test_an_unknown_hash_is_nobody(tenants: Tenants) -> None:
    tenants.put(a_client(), a_key())
    assert tenants.directory.identify("0" * 64) is None


def test_a_change_is_seen_at_once(tenants: Tenants) -> None:
    client, key = a_client(), a_key()
    tenants.put(client, key)
    tenants.put(client, key.model_copy(update={"revoked_at": NOON}))
    caller = tenants.directory.identify(key.sha256)
    assert caller is not None
    assert caller.key.revoked_at == NOON


def test_keys_of_one_client_come_oldest_first(tenants: Tenants) -> None:
    keys = [a_key(id=f"key_01JD000000000000000000000{n}") for n in range(4)]
    tenants.put(a_client(), keys[2], keys[0], keys[3], keys[1])
    tenants.put(a_client("other"), a_key("other"))
    assert tenants.directory.keys("acme") == tuple(keys)
    assert tenants.directory.keys("nobody") == ()


def test_of_keys_that_were_revoked_the_last_twenty_are_listed(tenants: Tenants) -> None:
    keys = [a_key(id=f"key_01JD00000000000000000000{n:02}") for n in range(30)]
    works = {3, 29}
    tenants.put(
        a_client(),
        *(
            key if number in works else key.model_copy(update={"revoked_at": NOON})
            for number, key in enumerate(keys)
        ),
    )
    listed = [int(key.id[-2:]) for key in tenants.directory.keys("acme")]
    assert listed == [3, *range(9, 30)]
    # A key that is not listed is known all the same.
    caller = tenants.directory.identify(keys[0].sha256)
    assert caller is not None
    assert caller.key.revoked_at == NOON


def test_a_client_is_read_as_it_is_now(tenants: Tenants) -> None:
    client = a_client(mail=True, webhook="https://hooks.example/xray")
    tenants.put(client)
    assert tenants.directory.client("acme") == client
    assert tenants.directory.client("nobody") is None


def last_used(tenants: Tenants) -> datetime | None:
    [key] = tenants.directory.keys("acme")
    return key.last_used_at


def test_of_a_minute_s_uses_the_first_is_noted(tenants: Tenants) -> None:
    key = a_key()
    tenants.put(a_client(), key)
    assert last_used(tenants) is None
    for seconds, noted in ((0, 0), (1, 0), (59.9, 0), (60, 60), (61, 60), (3600, 3600)):
        tenants.directory.note_use(key, NOON + timedelta(seconds=seconds))
        assert last_used(tenants) == NOON + timedelta(seconds=noted)


def test_noting_a_use_changes_nothing_else(tenants: Tenants) -> None:
    key = a_key(label="pacs", expires_at=NOON)
    tenants.put(a_client(), key)
    tenants.directory.note_use(key, NOON)
    assert tenants.directory.keys("acme") == (key.model_copy(update={"last_used_at": NOON}),)


def test_a_key_that_is_gone_does_not_come_back_by_its_use(tenants: Tenants) -> None:
    tenants.put(a_client())
    tenants.directory.note_use(a_key(), NOON)
    assert tenants.directory.keys("acme") == ()


# --- studies ----------------------------------------------------------------------------


def test_a_study_is_read_as_it_was_stored(tenants: Tenants) -> None:
    study = a_study()
    tenants.studies.add(a_caller(), study)
    assert tenants.studies.get("acme", study.id) == study


def test_links_are_never_stored(tenants: Tenants) -> None:
    signed: dict[str, Any] = {"url": "https://bucket.example/x?signature", "expires_at": NOON}
    plain = a_study()
    linked = plain.model_copy(
        update={
            "report": Link(**signed, media_type="application/pdf"),
            "heatmaps": (HeatmapLink(**signed, media_type="image/png", label="Edema"),),
        }
    )
    tenants.studies.add(a_caller(), linked)
    assert tenants.studies.get("acme", plain.id) == plain


@pytest.mark.parametrize("client_id", ["other", "acm", "acme-2", "nobody"])
def test_another_client_s_study_is_not_found(tenants: Tenants, client_id: str) -> None:
    study = a_study()
    tenants.studies.add(a_caller(), study)
    with pytest.raises(NotFound):
        tenants.studies.get(client_id, study.id)
    assert tenants.studies.page(client_id, 10, None, None).items == ()


@pytest.mark.parametrize(
    "study_id", ["", "st_", "nonsense", "x" * 3000, "st_../../etc", "STUDY#", f"st_{'0' * 26}"]
)
def test_an_id_that_was_never_given_is_not_found(tenants: Tenants, study_id: str) -> None:
    with pytest.raises(NotFound):
        tenants.studies.get("acme", study_id)


def add_many(tenants: Tenants, count: int, client_id: str = "acme") -> list[Study]:
    """Add studies, every third of them queued, and return them newest first."""
    caller = a_caller(a_client(client_id))
    studies = [
        a_study(
            id=f"st_01JD{n:022d}",
            status=StudyStatus.QUEUED if n % 3 == 0 else StudyStatus.SUCCEEDED,
        )
        for n in range(count)
    ]
    for study in studies:
        tenants.studies.add(caller, study)
    return studies[::-1]


def read_pages(tenants: Tenants, limit: int, status: StudyStatus | None) -> list[list[Study]]:
    pages, cursor = list[list[Study]](), None
    while True:
        page = tenants.studies.page("acme", limit, cursor, status)
        pages.append(list(page.items))
        cursor = page.next_cursor
        if cursor is None:
            return pages


@pytest.mark.parametrize("limit", [1, 3, 9])
@pytest.mark.parametrize("status", [None, StudyStatus.QUEUED, StudyStatus.SUCCEEDED])
def test_pages_hold_every_study_once_newest_first(
    tenants: Tenants, limit: int, status: StudyStatus | None
) -> None:
    studies = add_many(tenants, 9)
    add_many(tenants, 2, "other")
    expected = [study for study in studies if status in {None, study.status}]
    pages = read_pages(tenants, limit, status)
    assert [study for page in pages for study in page] == expected
    # Full pages up to the last, and none that is empty.
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert pages[-1]


def test_a_client_without_studies_has_one_empty_page(tenants: Tenants) -> None:
    for status in (None, StudyStatus.FAILED):
        page = tenants.studies.page("acme", 10, None, status)
        assert page.items == ()
        assert page.next_cursor is None


def test_a_new_study_does_not_shift_the_next_page(tenants: Tenants) -> None:
    studies = add_many(tenants, 4)
    first = tenants.studies.page("acme", 2, None, None)
    tenants.studies.add(a_caller(), a_study())
    second = tenants.studies.page("acme", 2, first.next_cursor, None)
    assert [*first.items, *second.items] == studies


def test_another_client_s_cursor_is_refused(tenants: Tenants) -> None:
    add_many(tenants, 3)
    add_many(tenants, 3, "other")
    foreign = tenants.studies.page("other", 1, None, None).next_cursor
    with pytest.raises(InvalidRequest):
        tenants.studies.page("acme", 1, foreign, None)


@pytest.mark.parametrize("cursor", ["", "=", "abc", "ä", "\n", "A" * 5000, "c3RfMDFKRA"])
def test_a_broken_cursor_is_refused(tenants: Tenants, cursor: str) -> None:
    add_many(tenants, 3)
    with pytest.raises(InvalidRequest):
        tenants.studies.page("acme", 1, cursor, None)


def test_a_changed_cursor_is_refused(tenants: Tenants) -> None:
    add_many(tenants, 3)
    cursor = tenants.studies.page("acme", 1, None, None).next_cursor
    assert cursor is not None
    for spoilt in (cursor[:-1], "A" + cursor[1:], f"{cursor}="):
        with pytest.raises(InvalidRequest):
            tenants.studies.page("acme", 1, spoilt, None)


# --- metering ---------------------------------------------------------------------------


def test_a_live_study_is_one_unit(tenants: Tenants) -> None:
    caller = a_caller()
    assert tenants.ledger.usage(caller.client).used == 0
    tenants.studies.add(caller, a_study())
    tenants.studies.add(caller, a_study())
    usage = tenants.ledger.usage(caller.client)
    assert (usage.used, usage.limit, usage.remaining) == (2, 100, 98)
    assert usage.period_start == datetime(2026, 11, 1, tzinfo=UTC)
    assert usage.resets_at == datetime(2026, 12, 1, tzinfo=UTC)


def test_a_test_study_is_stored_but_not_metered(tenants: Tenants) -> None:
    caller = a_caller(key=a_key(mode="test"))
    study = a_study(mode="test")
    tenants.studies.add(caller, study)
    assert tenants.studies.get("acme", study.id).mode == "test"
    assert tenants.ledger.usage(caller.client).used == 0


def test_a_test_key_works_when_the_quota_is_used_up(tenants: Tenants) -> None:
    client = a_client(plan=a_plan(studies=1))
    tenants.studies.add(a_caller(client), a_study())
    tenants.studies.add(a_caller(client, a_key(mode="test")), a_study(mode="test"))
    assert len(tenants.studies.page("acme", 10, None, None).items) == 2


def test_over_the_limit_nothing_is_stored_and_nothing_metered(tenants: Tenants) -> None:
    caller = a_caller(a_client(plan=a_plan(studies=2)))
    for _ in range(2):
        tenants.studies.add(caller, a_study())
    refused_study = a_study()
    with pytest.raises(QuotaExceeded) as refused:
        tenants.studies.add(caller, refused_study)
    assert refused.value.retry_after == 12.5 * 24 * 3600  # from the 18th, noon, to the 1st
    assert tenants.ledger.usage(caller.client).used == 2
    with pytest.raises(NotFound):
        tenants.studies.get("acme", refused_study.id)


def test_the_keys_of_a_client_share_one_quota(tenants: Tenants) -> None:
    client = a_client(plan=a_plan(studies=2))
    tenants.studies.add(a_caller(client, a_key()), a_study())
    tenants.studies.add(a_caller(client, a_key()), a_study())
    with pytest.raises(QuotaExceeded):
        tenants.studies.add(a_caller(client, a_key()), a_study())


def test_clients_do_not_share_a_quota(tenants: Tenants) -> None:
    plan = a_plan(studies=1)
    for client_id in ("acme", "other"):
        tenants.studies.add(a_caller(a_client(client_id, plan=plan)), a_study())


def test_storing_a_study_again_meters_nothing_even_at_the_limit(tenants: Tenants) -> None:
    caller = a_caller(a_client(plan=a_plan(studies=1)))
    study = a_study()
    for _ in range(3):
        tenants.studies.add(caller, study)
    assert tenants.ledger.usage(caller.client).used == 1
    assert tenants.studies.get("acme", study.id) == study


@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_the_next_period_begins_at_nought(tenants: Tenants, period: str) -> None:
    quota = Quota.model_validate({"limit": 1, "period": period})
    caller = a_caller(a_client(plan=a_plan().model_copy(update={"studies": quota})))
    resets_at = tenants.ledger.usage(caller.client).resets_at
    last_moment = resets_at - timedelta(microseconds=1)
    tenants.studies.add(caller, a_study(created_at=last_moment))
    with pytest.raises(QuotaExceeded):
        tenants.studies.add(caller, a_study(created_at=last_moment))
    tenants.studies.add(caller, a_study(created_at=resets_at))
    tenants.clock.now = last_moment
    assert tenants.ledger.usage(caller.client).used == 1
    tenants.clock.now = resets_at + timedelta(days=40)
    assert tenants.ledger.usage(caller.client).used == 0
