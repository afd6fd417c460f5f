"""One contract for both stores of retention: turns in a circle, and old studies once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError
from ulid import ULID

from chalicelib.tenants import records
from chalicelib.tenants.retention import MOST_LEFT, DynamoRetentionStore
from tests.fakes.clock import FixedClock
from tests.fakes.operations import FakeRetentionStore
from tests.fakes.tenants import FakeDirectory, FakeLedger, FakeStudyStore
from tests.fakes.values import a_client, a_study

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.domain import Client
    from chalicelib.ports import RetentionStore

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class Archive:
    """A store of retention, and the way into it."""

    retention: RetentionStore
    admit: Callable[[Client], None]
    keep: Callable[[str, datetime], str]


def made_at(at: datetime) -> str:
    return f"st_{ULID.from_datetime(at)}"


@pytest.fixture(params=["fake", "dynamodb"])
def archive(request: pytest.FixtureRequest) -> Archive:
    if request.param == "fake":
        directory = FakeDirectory()
        studies = FakeStudyStore(FakeLedger(FixedClock(BEGAN)))

        def keep(client_id: str, at: datetime) -> str:
            study = a_study(id=made_at(at), created_at=at)
            studies.place(client_id, study)
            return study.id

        return Archive(FakeRetentionStore(directory, studies), directory.put, keep)
    table: Table = request.getfixturevalue("table")

    def keep_there(client_id: str, at: datetime) -> str:
        study = a_study(id=made_at(at), created_at=at)
        table.put_item(Item=records.study_item(client_id, study))
        return study.id

    def admit(client: Client) -> None:
        table.put_item(Item=records.client_item(client))

    return Archive(DynamoRetentionStore(table), admit, keep_there)


def ids(archive: Archive, at_most: int = 2) -> list[str]:
    return [client.id for client in archive.retention.turn(at_most)]


def test_turns_go_round_in_a_circle(archive: Archive) -> None:
    assert ids(archive) == []
    for client_id in ("c1", "c2", "c3"):
        archive.admit(a_client(client_id))
    assert ids(archive) == ["c1", "c2"]
    assert ids(archive) == ["c1", "c2"]  # nobody noted that they had it
    archive.retention.note_turn("c1")
    assert ids(archive) == ["c2", "c3"]
    archive.retention.note_turn("c3")
    assert ids(archive) == ["c1", "c2"]


def test_who_had_the_last_turn_may_be_gone(archive: Archive) -> None:
    archive.admit(a_client("c3"))
    archive.retention.note_turn("c2")
    assert ids(archive) == ["c3"]


def test_old_studies_come_oldest_first_and_no_others(archive: Archive) -> None:
    days = [archive.keep("acme", BEGAN + timedelta(days=day)) for day in range(5)]
    archive.keep("other", BEGAN)
    bound = BEGAN + timedelta(days=3)
    assert archive.retention.old("acme", bound, 10) == tuple(days[:3])
    assert archive.retention.old("acme", bound, 2) == tuple(days[:2])
    assert archive.retention.old("acme", BEGAN, 10) == ()
    assert archive.retention.old("nobody", bound, 10) == ()


def test_what_was_erased_is_not_read_again(archive: Archive) -> None:
    days = [archive.keep("acme", BEGAN + timedelta(days=day)) for day in range(4)]
    bound = BEGAN + timedelta(days=3)
    archive.retention.note_erased("acme", days[1])
    assert archive.retention.old("acme", bound, 10) == (days[2],)
    archive.retention.note_erased("acme", days[0])  # a run that was slower
    assert archive.retention.old("acme", bound, 10) == (days[2],)
    # A longer retention does not bring back what is gone, and asks for nothing impossible.
    assert archive.retention.old("acme", BEGAN - timedelta(days=300), 10) == ()


def test_what_was_left_comes_again_until_it_is_erased(archive: Archive) -> None:
    days = [archive.keep("acme", BEGAN + timedelta(days=day)) for day in range(4)]
    bound = BEGAN + timedelta(days=3)
    assert archive.retention.note_left("acme", days[0])
    assert archive.retention.note_left("acme", days[0])
    archive.retention.note_erased("acme", days[1])
    assert archive.retention.old("acme", bound, 10) == (days[0], days[2])
    # A longer retention keeps it for now.
    assert archive.retention.old("acme", BEGAN - timedelta(days=300), 10) == ()
    archive.retention.note_erased("acme", days[0])
    assert archive.retention.old("acme", bound, 10) == (days[2],)


def test_only_so_many_are_left(archive: Archive) -> None:
    ids = [archive.keep("acme", BEGAN + timedelta(hours=hour)) for hour in range(MOST_LEFT + 2)]
    assert all(archive.retention.note_left("acme", one) for one in ids[:MOST_LEFT])
    assert not archive.retention.note_left("acme", ids[MOST_LEFT])
    assert archive.retention.note_left("acme", ids[0])
    bound = BEGAN + timedelta(days=30)
    assert archive.retention.old("acme", bound, 100) == tuple(ids)
    assert archive.retention.old("other", bound, 100) == ()


def test_looks_are_noted(archive: Archive) -> None:
    assert archive.retention.looked_at("acme") is None
    archive.retention.note_look("acme", BEGAN)
    assert archive.retention.looked_at("acme") == BEGAN
    assert archive.retention.looked_at("other") is None


def test_clients_whose_record_cannot_be_read_are_told_of_and_hold_up_nobody(table: Table) -> None:
    store, told = DynamoRetentionStore(table), list[str]()

    def unreadable(error: Exception, **ids: str) -> None:
        assert isinstance(error, ValidationError)
        told.append(ids["pk"])

    def turn() -> list[str]:
        told.clear()
        return [client.id for client in store.turn(2, unreadable)]

    for number in range(6):
        table.put_item(Item=records.client_item(a_client(f"c{number}")))
    for spoilt in ("c0", "c1", "c3", "c5"):
        table.update_item(
            Key=records.client_key(spoilt),
            UpdateExpression="SET retention_days = :odd",
            ExpressionAttributeValues={":odd": "for ever"},
        )
    assert (turn(), told) == (["c2"], ["CLIENT#c0", "CLIENT#c1", "CLIENT#c3"])
    store.note_turn("c2")
    assert (turn(), told) == (["c4"], ["CLIENT#c3"])
    store.note_turn("c4")
    assert (turn(), told[0]) == (["c2"], "CLIENT#c5")  # round again
    with pytest.raises(ValidationError):
        store.turn(2)
    for rest in ("c2", "c4"):
        table.delete_item(Key=records.client_key(rest))
    assert (turn(), set(told)) == ([], {"CLIENT#c0", "CLIENT#c1", "CLIENT#c3", "CLIENT#c5"})


def test_a_row_that_does_not_validate_is_found_like_any_other(table: Table) -> None:
    """What is in it matters to whoever erases it, and not to whoever looks for what is old."""
    study = a_study(id=made_at(BEGAN), created_at=BEGAN)
    item = records.study_item("acme", study) | {"document": "{}"}
    table.put_item(Item=item)
    store = DynamoRetentionStore(table)
    assert store.old("acme", BEGAN + timedelta(days=1), 10) == (study.id,)
