"""A process that ends between any two steps leaves nothing that the next run does not mend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from admin_cli.console import CliError
from admin_cli.gateway import Gateway
from admin_cli.tenants.accounts import Accounts
from admin_cli.tenants.keyring import Keyring
from chalicelib.tenants import keys
from chalicelib.tenants.directory import DynamoDirectory
from tests.integration.admin_cli.conftest import Fuse, Killed

if TYPE_CHECKING:
    from collections.abc import Callable

    from admin_cli.tenants.keyring import Added
    from admin_cli.tenants.registry import IssuedKey, Registry
    from chalicelib.domain import ApiKey, Client
    from tests.integration.admin_cli.conftest import World

CREATE = ["add_client", "find_usage_plan", "create_usage_plan", "set_usage_plan"]
ISSUE = ["client", "working", "add_key", "create_key", "add_to_plan", "finish_key"]
# What `issue` does first when a key was left behind.
DISCARD = ["client", "working", "revoke_key", "find_key", "delete_key", "discard_key"]
REVOKE = ["key", "revoke_key", "delete_key"]


def create(registry: Registry) -> Client:
    return registry.create_client("acme", "Acme", "it@acme.example", "clinic")


def kill(world: World, calls: int, use: Callable[[Registry], object]) -> list[str]:
    """Run `use` in a process that ends after `calls` calls; return the calls it made."""
    fuse = Fuse(calls)
    with pytest.raises(Killed):
        use(world.registry(fuse=fuse))
    return fuse.made


def assert_whole(world: World, secrets: set[str]) -> None:
    """Check that exactly these secrets open both doors, and that nothing else is left over."""
    assert world.admitted() == secrets
    assert set(world.keys_in_gateway().values()) == secrets
    recorded = world.registry().keys("acme")
    assert {key.sha256 for key in recorded} == {keys.sha256(secret) for secret in secrets}
    assert all(key.gateway_key_id for key in recorded)
    assert world.records("HASH#") == ["HASH"] * len(secrets)
    assert world.records("KEY#") == ["KEY"] * len(secrets)


def test_the_steps_are_the_ones_that_are_killed_below(world: World) -> None:
    fuse = Fuse(99)
    registry = world.registry(fuse=fuse)
    create(registry)
    key = registry.issue_key("acme").key
    registry.revoke_key(key.id)
    assert fuse.made == CREATE + ISSUE + REVOKE


@pytest.mark.parametrize("calls", range(len(CREATE)))
def test_a_crash_in_clients_create_is_mended_by_running_it_again(world: World, calls: int) -> None:
    assert kill(world, calls, create) == CREATE[:calls]
    client = create(world.registry())
    assert world.registry().client("acme") == client
    [plan] = world.plans_in_gateway()
    assert plan["id"] == client.usage_plan_id


@pytest.mark.parametrize("calls", range(len(CREATE)))
def test_two_crashes_in_a_row_are_mended_too(world: World, calls: int) -> None:
    kill(world, calls, create)
    kill(world, min(calls, 3), create)
    client = create(world.registry())
    assert [plan["id"] for plan in world.plans_in_gateway()] == [client.usage_plan_id]


@pytest.mark.parametrize("calls", range(1, len(CREATE)))
def test_keys_issue_finishes_a_client_that_was_left_half_made(world: World, calls: int) -> None:
    kill(world, calls, create)
    issued = world.registry().issue_key("acme")
    assert_whole(world, {issued.secret})


@pytest.mark.parametrize("calls", range(len(ISSUE)))
def test_a_crash_in_keys_issue_harms_nobody_and_is_cleared_away(world: World, calls: int) -> None:
    create(world.registry())
    made = kill(world, calls, lambda registry: registry.issue_key("acme"))
    assert made == ISSUE[:calls]
    # At once: the same command gives a good key, whatever lies about.
    first = world.registry().issue_key("acme")
    assert first.secret in world.admitted()
    # A little later: the next one also clears away what was left.
    world.clock.advance(121)
    second = world.registry().issue_key("acme")
    assert_whole(world, {first.secret, second.secret})


@pytest.mark.parametrize("calls", range(len(DISCARD) + 1))
def test_a_crash_while_clearing_away_is_cleared_away_as_well(world: World, calls: int) -> None:
    create(world.registry())
    kill(world, len(ISSUE) - 1, lambda registry: registry.issue_key("acme"))
    world.clock.advance(121)
    made = kill(world, calls, lambda registry: registry.issue_key("acme"))
    assert made == [*DISCARD, "add_key"][:calls]
    world.clock.advance(121)
    issued = world.registry().issue_key("acme")
    assert_whole(world, {issued.secret})


def test_a_key_that_is_being_made_is_not_cleared_away_by_another_run(world: World) -> None:
    create(world.registry())
    others: list[IssuedKey] = []

    class Slow(Gateway):
        def add_to_plan(self, usage_plan_id: str, gateway_key_id: str) -> None:
            world.clock.advance(60)
            others.append(world.registry().issue_key("acme"))
            super().add_to_plan(usage_plan_id, gateway_key_id)

    slow = Slow(world.apigateway, "test", world.rest_api_id, "v1")
    issued = world.registry(gateway=slow).issue_key("acme")
    assert_whole(world, {issued.secret, others[0].secret})


@pytest.mark.parametrize("step", ["create_key", "add_to_plan"])
def test_a_run_that_is_much_too_slow_gives_up_its_key_cleanly(world: World, step: str) -> None:
    create(world.registry())
    others: list[IssuedKey] = []

    def overtake() -> None:
        world.clock.advance(121)
        others.append(world.registry().issue_key("acme"))

    class Slow(Gateway):
        def create_key(self, key_id: str, secret: str) -> str:
            if step == "create_key":
                overtake()
            return super().create_key(key_id, secret)

        def add_to_plan(self, usage_plan_id: str, gateway_key_id: str) -> None:
            super().add_to_plan(usage_plan_id, gateway_key_id)
            if step == "add_to_plan":
                overtake()

    slow = Slow(world.apigateway, "test", world.rest_api_id, "v1")
    with pytest.raises(CliError, match="issue another"):
        world.registry(gateway=slow).issue_key("acme")
    assert_whole(world, {others[0].secret})


@pytest.mark.parametrize("calls", range(len(REVOKE)))
def test_a_crash_in_keys_revoke_is_mended_by_running_it_again(world: World, calls: int) -> None:
    create(world.registry())
    issued = world.registry().issue_key("acme")
    made = kill(world, calls, lambda registry: registry.revoke_key(issued.key.id))
    assert made == REVOKE[:calls]
    caller = DynamoDirectory(world.table).identify(issued.key.sha256)
    assert caller is not None
    assert (caller.key.revoked_at is not None) == ("revoke_key" in made)
    world.registry().revoke_key(issued.key.id)
    assert world.keys_in_gateway() == {}
    assert world.admitted() == set()


def test_a_key_that_was_left_half_made_can_be_revoked(world: World) -> None:
    create(world.registry())
    kill(world, len(ISSUE) - 1, lambda registry: registry.issue_key("acme"))
    [left] = world.registry().keys("acme")
    assert left.gateway_key_id is None
    assert world.registry().revoke_key(left.id).revoked_at is not None
    assert world.keys_in_gateway() == {}


def test_two_runs_of_clients_create_at_once_end_in_one_usage_plan(world: World) -> None:
    class Slow(Gateway):
        def create_usage_plan(self, client_id: str, plan: object) -> str:
            create(world.registry())
            return super().create_usage_plan(client_id, plan)  # type: ignore[arg-type]

    slow = Slow(world.apigateway, "test", world.rest_api_id, "v1")
    client = create(world.registry(gateway=slow))
    assert [plan["id"] for plan in world.plans_in_gateway()] == [client.usage_plan_id]
    assert world.registry().client("acme") == client


def test_a_run_that_finds_the_other_s_usage_plan_does_not_delete_it(world: World) -> None:
    class Slow(Accounts):
        def set_usage_plan(
            self, client_id: str, usage_plan_id: str, instead_of: str | None = None
        ) -> Client | None:
            create(world.registry())
            return super().set_usage_plan(client_id, usage_plan_id, instead_of)

    client = create(world.registry(accounts=Slow(world.table, world.trail)))
    assert [plan["id"] for plan in world.plans_in_gateway()] == [client.usage_plan_id]


def test_a_key_for_a_client_that_disappears_is_not_made(world: World) -> None:
    create(world.registry())

    class Slow(Keyring):
        def add_key(self, key: ApiKey, most: int) -> Added:
            world.table.delete_item(Key={"pk": "CLIENT#acme", "sk": "CLIENT"})
            return super().add_key(key, most)

    with pytest.raises(CliError, match="no client acme"):
        world.registry(keyring=Slow(world.table, world.trail)).issue_key("acme")
    assert world.keys_in_gateway() == {}
    assert world.records("HASH#") == []
