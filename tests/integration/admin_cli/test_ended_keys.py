"""Keys that work no more lie apart: lists stay short, and nothing is forgotten of them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from admin_cli.console import CliError
from admin_cli.tenants.registry import MOST_KEYS
from chalicelib.domain import ApiKey, Usage, is_expired
from chalicelib.services.account import AccountService
from chalicelib.tenants import records
from chalicelib.tenants.directory import DynamoDirectory
from tests.fakes.values import NOON, a_key

if TYPE_CHECKING:
    from tests.integration.admin_cli.conftest import World

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _acme(world: World) -> None:
    world.registry().create_client("acme", "Acme", "it@acme.example", "clinic")


def place(world: World, *keys: ApiKey) -> None:
    """Store keys as they are, without their doors in API Gateway."""
    with world.table.batch_writer() as batch:
        for key in keys:
            for item in records.api_key_items(key):
                batch.put_item(Item=item)


def state(world: World, key: ApiKey) -> ApiKey:
    """Return what a function that has just started knows of a key."""
    caller = DynamoDirectory(world.table).identify(key.sha256)
    assert caller is not None
    return caller.key


def test_a_revoked_key_is_filed_in_the_same_change(world: World) -> None:
    kept, revoked = (world.registry().issue_key("acme").key for _ in range(2))
    world.registry().revoke_key(revoked.id)
    assert [key.id for key in world.keyring.working("acme")] == [kept.id]
    assert [key.id for key in world.registry().keys("acme")] == [kept.id, revoked.id]
    assert state(world, revoked).revoked_at == NOON
    assert world.registry().key(revoked.id).revoked_at == NOON
    entries = len(world.audited())
    world.clock.advance(60)
    assert world.registry().revoke_key(revoked.id).revoked_at == NOON
    assert len(world.audited()) == entries


def test_what_the_client_is_shown_costs_the_same_after_a_thousand_keys(world: World) -> None:
    issued = world.registry().issue_key("acme").key
    dead = [a_key(revoked_at=NOON, gateway_key_id="gw") for _ in range(1000)]
    place(world, *dead)
    read: list[int] = []

    def note(parsed: dict[str, Any], **_: object) -> None:
        read.append(len(parsed["Items"]))

    events: Any = world.table.meta.client.meta.events
    events.register("after-call.dynamodb.Query", note)
    caller = DynamoDirectory(world.table).identify(issued.sha256)
    assert caller is not None
    usage = Usage(used=0, limit=1, period_start=NOON, resets_at=NOON)
    shown = AccountService(DynamoDirectory(world.table)).account(caller, usage).keys
    assert read == [1, 20]
    assert [key.id for key in shown if key.revoked_at is None] == [issued.id]
    assert len(shown) == 21
    assert len(world.registry().latest_keys("acme")) == 21
    assert len(world.registry().keys("acme")) == 1001


def test_a_key_that_has_expired_is_filed_with_the_next_one(world: World) -> None:
    old = world.registry().issue_key("acme", expires_in=DAY).key
    world.clock.advance(DAY.total_seconds())
    new = world.registry().issue_key("acme").key
    assert [key.id for key in world.keyring.working("acme")] == [new.id]
    assert is_expired(state(world, old), world.clock())
    told = [entry for entry in world.audited() if entry.action == "key.end"]
    assert [entry.subject for entry in told] == [old.id]
    # It can still be revoked, where it lies.
    world.registry().revoke_key(old.id)
    assert state(world, old).revoked_at == world.clock()
    assert [key.id for key in world.registry().keys("acme")] == [old.id, new.id]


def test_a_revoked_key_of_an_older_release_is_found_listed_and_filed(world: World) -> None:
    before = a_key(revoked_at=NOON, gateway_key_id="gw")
    place(world, before)
    record = records.api_key_items(before)[0]
    world.table.delete_item(Key={"pk": record["pk"], "sk": record["sk"]})
    world.table.put_item(Item=record | records.api_key_key("acme", before.id))
    assert state(world, before) == before
    assert world.registry().keys("acme") == (before,)
    issued = world.registry().issue_key("acme").key
    assert [key.id for key in world.keyring.working("acme")] == [issued.id]
    assert state(world, before) == before


def test_a_use_that_is_noted_meanwhile_is_not_lost(world: World) -> None:
    key = world.registry().issue_key("acme").key
    used = [NOON]

    def use(**_: object) -> None:
        if used:
            DynamoDirectory(world.table).note_use(key, used.pop())

    events: Any = world.table.meta.client.meta.events
    events.register_first("before-send.dynamodb.TransactWriteItems", use)
    world.registry().revoke_key(key.id)
    assert used == []
    assert (state(world, key).revoked_at, state(world, key).last_used_at) == (NOON, NOON)
    # And a use that is noted late brings nothing back.
    DynamoDirectory(world.table).note_use(key, NOON + DAY)
    assert world.keyring.working("acme") == ()


def test_a_client_has_room_for_a_hundred_keys_that_work(world: World) -> None:
    place(world, *(a_key(gateway_key_id="gw") for _ in range(MOST_KEYS - 1)))
    last = world.registry().issue_key("acme").key
    with pytest.raises(CliError, match="has 100 keys that work"):
        world.registry().issue_key("acme")
    # To rotate, there is always room; to issue, once one is revoked or has expired.
    rotated = world.registry().rotate_key(last.id, DAY).key
    world.registry().revoke_key(rotated.id)
    world.clock.advance(DAY.total_seconds())
    world.registry().issue_key("acme")


def test_keys_are_found_by_many_hashes_at_once_wherever_they_lie(world: World) -> None:
    live = [world.registry().issue_key("acme").key for _ in range(2)]
    dead = [a_key(revoked_at=NOON, gateway_key_id="gw") for _ in range(150)]
    place(world, *dead)
    strangers = ["0" * 64, "f" * 64]
    calls: list[str] = []
    events: Any = world.table.meta.client.meta.events
    events.register("before-send.dynamodb.*", lambda event_name, **_: calls.append(event_name))
    found = world.keyring.of_hashes([*strangers, *(key.sha256 for key in (*live, *dead))])
    assert found == {key.sha256: key for key in (*live, *dead)}
    assert len(calls) == 6
    assert world.keyring.of_hashes([]) == {}
