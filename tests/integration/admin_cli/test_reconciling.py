"""`plans apply`: what differs is shown, mended in both places, and a crash is taken up again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from admin_cli.tenants.reconciling import apply, differences
from tests.fakes.values import a_plan
from tests.integration.admin_cli.conftest import PLANS, Fuse, Killed, World

if TYPE_CHECKING:
    from admin_cli.tenants.reconciling import Difference
    from chalicelib.domain import Plan

DEARER = PLANS | {
    "clinic": a_plan(
        200, price={"currency": "EUR", "monthly": "9.90", "included": 5, "overage": "1"}
    )
}


def differing(world: World, plans: dict[str, Plan] = DEARER) -> tuple[Difference, ...]:
    return differences(world.registry(plans=plans), world.gateway, plans)


def reconcile(world: World, plans: dict[str, Plan] = DEARER, fuse: Fuse | None = None) -> None:
    apply(world.registry(plans=plans, fuse=fuse), differing(world, plans), lambda: None)


def create(world: World, *client_ids: str, plan: str = "clinic") -> None:
    for client_id in client_ids:
        world.registry().create_client(client_id, "X", "it@x.example", plan)


def test_where_nothing_changed_nothing_differs(world: World) -> None:
    create(world, "acme", "other")
    assert differing(world, PLANS) == ()


def test_changed_terms_are_shown_by_client_and_then_applied_in_both_places(world: World) -> None:
    create(world, "acme", "other")
    create(world, "small", plan="trial")
    first, second = differing(world)
    assert (first.client_id, second.client_id) == ("acme", "other")
    assert first.changes == (
        "studies: 100 month → 200 month",
        "requests: 1000 month → 2000 month",
        "price: none → EUR 9.90 5 1",
        "API Gateway /quota/limit → 2000",
    )
    assert world.registry().client("acme").plan == PLANS["clinic"]
    reconcile(world)
    assert differing(world) == ()
    assert world.registry().client("acme").plan == DEARER["clinic"]
    assert sorted(plan["quota"]["limit"] for plan in world.plans_in_gateway()) == [100, 2000, 2000]
    told = [entry.action for entry in world.audited()[-4:]]
    assert told == ["client.plan", "client.gate"] * 2


def test_a_gate_that_somebody_changed_by_hand_is_set_right(world: World) -> None:
    create(world, "acme")
    [plan] = world.plans_in_gateway()
    patch = {"op": "replace", "path": "/throttle/rateLimit", "value": "9999"}
    world.apigateway.update_usage_plan(usagePlanId=plan["id"], patchOperations=[patch])  # type: ignore[list-item]
    [found] = differing(world, PLANS)
    assert found.changes == ("API Gateway /throttle/rateLimit → 5",)
    reconcile(world, PLANS)
    assert differing(world, PLANS) == ()
    told, path = world.audited()[-1], "/throttle/rateLimit"
    assert (told.action, told.client_id) == ("client.gate", "acme")
    assert (told.before, told.after) == ({path: "9999"}, {path: "5"})


def test_a_plan_that_left_the_catalogue_stays_as_it_was_sold(world: World) -> None:
    create(world, "acme")
    assert differing(world, {"trial": PLANS["trial"]}) == ()


def test_a_usage_plan_that_was_deleted_is_made_anew_with_the_keys_that_work(world: World) -> None:
    create(world, "acme")
    kept, revoked = (world.registry().issue_key("acme") for _ in range(2))
    world.registry().revoke_key(revoked.key.id)
    world.gateway.delete_usage_plan(str(world.registry().client("acme").usage_plan_id))
    assert world.admitted() == set()
    [found] = differing(world, PLANS)
    assert found.changes == ("usage plan: gone → made",)
    reconcile(world, PLANS)
    assert differing(world, PLANS) == ()
    assert world.admitted() == {kept.secret}


def test_a_client_that_is_being_deleted_is_left_alone(world: World) -> None:
    create(world, "acme")
    world.accounts.begin_deletion("acme", world.clock())
    assert differing(world) == ()


@pytest.mark.parametrize("calls", range(10))
def test_a_run_that_ends_early_is_taken_up_by_the_next(world: World, calls: int) -> None:
    create(world, "acme", "other")
    with pytest.raises(Killed):
        reconcile(world, fuse=Fuse(calls))  # five calls for each client
    # The fifth is the note before the gate is set, which a run that ends there leaves as it was.
    assert len(differing(world)) == (2 if calls < 5 else 1)
    reconcile(world)
    assert differing(world) == ()
