"""Each kind of drift is found, named, repaired, and gone afterwards."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from admin_cli.gateway import Gateway
from admin_cli.tenants.checkup import Checkup
from admin_cli.tenants.gateway_survey import Survey
from admin_cli.tenants.key_views import works
from chalicelib.domain import new_id
from chalicelib.tenants import audit, keys, records
from chalicelib.tenants.directory import DynamoDirectory
from tests.fakes.values import a_plan
from tests.integration.admin_cli.conftest import PLANS, Fuse, Killed, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from admin_cli.tenants.registry import IssuedKey


def checkup(world: World, rest_api_id: str | None = None) -> Checkup:
    return Checkup(
        registry=world.registry(),
        accounts=world.accounts,
        keyring=world.keyring,
        gateway=world.gateway,
        survey=Survey(world.apigateway, "test"),
        trail=world.trail,
        plans=PLANS,
        clock=world.clock,
        table_name=world.table.name,
        api=(rest_api_id or world.rest_api_id, "v1"),
    )


def populate(world: World) -> IssuedKey:
    """Make two clients, one of which has a key in every state that a command can leave it in."""
    for client_id in ("acme", "other"):
        world.registry().create_client(client_id, "X", "it@x.example", "clinic")
    issued, revoked, old = (world.registry().issue_key("acme") for _ in range(3))
    world.registry().issue_key("other")
    world.registry().revoke_key(revoked.key.id)
    world.registry().rotate_key(old.key.id, timedelta(hours=10))
    return issued


def test_a_stage_as_the_commands_leave_it_has_no_drift(world: World) -> None:
    populate(world)
    assert checkup(world).findings() == []


def orphan(world: World, _issued: IssuedKey) -> None:
    world.gateway.create_key(new_id("key"), keys.mint())


def second_gateway_key(world: World, issued: IssuedKey) -> None:
    world.gateway.create_key(issued.key.id, keys.mint())


def no_gateway_key(world: World, issued: IssuedKey) -> None:
    world.gateway.delete_key(str(issued.key.gateway_key_id))


def in_no_plan(world: World, issued: IssuedKey) -> None:
    plan = str(world.registry().client("acme").usage_plan_id)
    Survey(world.apigateway, "test").remove_from_plan(plan, str(issued.key.gateway_key_id))


def in_the_wrong_plan(world: World, issued: IssuedKey) -> None:
    in_no_plan(world, issued)
    plan = str(world.registry().client("other").usage_plan_id)
    world.gateway.add_to_plan(plan, str(issued.key.gateway_key_id))


def in_two_plans(world: World, issued: IssuedKey) -> None:
    plan = str(world.registry().client("other").usage_plan_id)
    world.gateway.add_to_plan(plan, str(issued.key.gateway_key_id))


def revoked_in_the_table_alone(world: World, issued: IssuedKey) -> None:
    world.keyring.revoke_key(issued.key, world.clock())


def expired(world: World, _issued: IssuedKey) -> None:
    world.clock.advance(10 * 3600)  # the end of the overlap of the key that was rotated


def never_finished(world: World, _issued: IssuedKey) -> None:
    with pytest.raises(Killed):
        world.registry(fuse=Fuse(4)).issue_key("other")
    world.clock.advance(121)


def plan_without_client(world: World, _issued: IssuedKey) -> None:
    world.gateway.create_usage_plan("ghost", a_plan())


def second_plan(world: World, _issued: IssuedKey) -> None:
    world.gateway.create_usage_plan("acme", a_plan())


def client_without_plan(world: World, _issued: IssuedKey) -> None:
    with pytest.raises(Killed):
        world.registry(fuse=Fuse(1)).create_client("half", "X", "it@x.example", "clinic")


def plan_that_is_gone(world: World, _issued: IssuedKey) -> None:
    world.gateway.delete_usage_plan(str(world.registry().client("acme").usage_plan_id))


def limits_that_were_changed(world: World, _issued: IssuedKey) -> None:
    plan = str(world.registry().client("acme").usage_plan_id)
    world.gateway.set_limits(plan, a_plan(7))


def plan_off_the_api(world: World, _issued: IssuedKey) -> None:
    plan = str(world.registry().client("acme").usage_plan_id)
    patch = {"op": "remove", "path": "/apiStages", "value": f"{world.rest_api_id}:v1"}
    world.apigateway.update_usage_plan(
        usagePlanId=plan,
        patchOperations=[patch],  # type: ignore[list-item]
    )


def no_pointer_by_hash(world: World, issued: IssuedKey) -> None:
    world.table.delete_item(Key=records.hash_pointer_key(issued.key.sha256))


def no_pointer_by_id(world: World, issued: IssuedKey) -> None:
    world.table.delete_item(Key=records.id_pointer_key(issued.key.id))


def neither_pointer(world: World, issued: IssuedKey) -> None:
    no_pointer_by_hash(world, issued)
    no_pointer_by_id(world, issued)


def pointer_to_another(world: World, issued: IssuedKey) -> None:
    pointer = records.hash_pointer_key(issued.key.sha256)
    world.table.put_item(Item=pointer | {"client_id": "other", "key_id": issued.key.id})


def opens(world: World, secret: str) -> bool:
    """Whether a key gets in: past API Gateway, and past the function."""
    caller = DynamoDirectory(world.table).identify(keys.sha256(secret))
    return secret in world.admitted() and caller is not None and works(caller.key, world.clock())


@pytest.mark.parametrize(
    ("make", "drift"),
    [
        (orphan, "that the table does not know"),
        (second_gateway_key, "that the table does not know"),
        (no_gateway_key, "that API Gateway does not hold"),
        (in_no_plan, "a key in no usage plan"),
        (in_the_wrong_plan, "in another client's usage plan"),
        (in_two_plans, "in another client's usage plan"),
        (revoked_in_the_table_alone, "revoked or expired key that API Gateway still holds"),
        (expired, "revoked or expired key that API Gateway still holds"),
        (never_finished, "never finished"),
        (plan_without_client, "a usage plan without client"),
        (second_plan, "a second usage plan"),
        (client_without_plan, "usage plan: none"),
        (plan_that_is_gone, "usage plan: gone"),
        (limits_that_were_changed, "API Gateway /quota/limit → 1000"),
        (plan_off_the_api, "a usage plan that does not cover the API"),
        (no_pointer_by_hash, "not found by its hash, so it is refused"),
        (no_pointer_by_id, "not found by its id"),
        (neither_pointer, "not found by its hash, so it is refused"),
        (pointer_to_another, "not found by its hash, so it is refused"),
    ],
)
def test_drift_is_found_repaired_and_noted(
    world: World, make: Callable[[World, IssuedKey], None], drift: str
) -> None:
    issued = populate(world)
    make(world, issued)
    [found] = checkup(world).findings()
    assert drift in found.drift
    assert found.repair
    before = len(world.audited())
    checkup(world).repair(found)
    assert checkup(world).findings() == []
    noted = world.audited()[before]
    assert (noted.action, noted.subject) == ("doctor.repair", found.subject)
    # Whoever had a good key that no repair had to close still gets in.
    closed = make in {no_gateway_key, revoked_in_the_table_alone}
    assert opens(world, issued.secret) is not closed
    assert world.registry().key(issued.key.id).id == issued.key.id


@pytest.mark.parametrize("make", [plan_off_the_api, no_pointer_by_hash, pointer_to_another])
def test_what_closed_a_good_key_is_never_answered_by_closing_it(
    world: World, make: Callable[[World, IssuedKey], None]
) -> None:
    issued = populate(world)
    make(world, issued)
    assert not opens(world, issued.secret)
    [found] = checkup(world).findings()
    checkup(world).repair(found)
    assert opens(world, issued.secret)


def test_a_key_that_lost_its_pointers_can_still_be_closed(world: World) -> None:
    issued = populate(world)
    neither_pointer(world, issued)
    no_gateway_key(world, issued)
    found = checkup(world).findings()
    assert len(found) == 2
    for one in found:
        checkup(world).repair(one)
    assert checkup(world).findings() == []
    assert world.registry().key(issued.key.id).revoked_at is not None
    assert [entry.action for entry in world.audited()].count("key.restore") == 1


def test_a_key_of_a_client_that_is_being_deleted_can_be_found_again(world: World) -> None:
    issued = populate(world)
    world.accounts.begin_deletion("acme", world.clock())
    neither_pointer(world, issued)
    [mended] = [one for one in checkup(world).findings() if one.act is not None]
    checkup(world).repair(mended)
    # By its id the deletion goes on.
    assert world.registry().revoke_key(issued.key.id).revoked_at is not None


def test_of_a_key_that_is_gone_no_pointer_comes_back(world: World) -> None:
    issued = populate(world)
    neither_pointer(world, issued)
    [found] = checkup(world).findings()
    world.registry().discard_key(issued.key)
    checkup(world).repair(found)
    assert world.records("HASH#") == ["HASH"] * 4
    assert checkup(world).findings() == []


def test_what_only_a_person_can_mend_is_named_and_left(world: World) -> None:
    issued = populate(world)
    world.accounts.begin_deletion("other", world.clock())
    patch = {"op": "replace", "path": "/enabled", "value": "false"}
    world.apigateway.update_api_key(
        apiKey=str(issued.key.gateway_key_id),
        patchOperations=[patch],  # type: ignore[list-item]
    )
    entry = audit.entry_key(audit.sort_key(2))
    world.table.update_item(
        Key=entry,
        UpdateExpression="SET #d = :d",
        ExpressionAttributeNames={"#d": "document"},
        ExpressionAttributeValues={":d": "{}"},
    )
    found = checkup(world).findings()
    assert [one.act for one in found] == [None] * 3
    drifts = " ".join(one.drift for one in found)
    for word in ("entry 2 was changed", "deletion did not end", "disabled in API Gateway"):
        assert word in drifts


def test_an_api_that_is_gone_is_all_that_is_said(world: World) -> None:
    populate(world)
    [found] = checkup(world, rest_api_id="gone").findings()
    assert (found.subject, found.act, found.repair) == ("stack", None, "run `deploy`")


def test_other_stages_and_other_products_are_left_alone(world: World) -> None:
    populate(world)
    other = Gateway(world.apigateway, "prod", world.rest_api_id, "v1")
    other.create_usage_plan("acme", a_plan())
    other.create_key(new_id("key"), keys.mint())
    world.apigateway.create_api_key(name="another product", value="x" * 30)
    world.apigateway.create_usage_plan(name="radgate-tested")
    assert checkup(world).findings() == []
