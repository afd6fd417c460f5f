"""A webhook that fails for days, or is gone, is switched off."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from chalicelib.domain import FAILING_FOR, TELL_FOR, Health, Outcome
from chalicelib.errors import StorageUnavailable
from chalicelib.services.delivering import a_test
from tests.fakes.deliveries import FakeCourier, FakeHealthStore, notice_of
from tests.fakes.values import NOON
from tests.unit.services.delivering.conftest import AGAIN, DONE, HOOK, NEVER, World

if TYPE_CHECKING:
    from chalicelib.domain import Delivery

GONE = NEVER.model_copy(update={"gone": True})


def fail_for(world: World, days: float) -> Delivery:
    """Have an event fail every two hours, for so long."""
    end = world.clock.now + timedelta(days=days)
    while True:
        delivery = world.have(created_at=world.clock.now, next_at=world.clock.now)
        told = world.service().deliver(notice_of(delivery))
        assert told is not None
        if world.clock.now >= end:
            return told
        world.clock.advance(2 * 3600)


def test_a_webhook_that_is_gone_is_off_at_once_and_nothing_calls_it() -> None:
    world = World(webhook=FakeCourier([GONE]))
    world.service().deliver(notice_of(world.have()))
    assert world.health.health("acme").off_because == NEVER.reason
    told = world.service().deliver(notice_of(world.have()))
    assert told is not None
    reason = "The webhook is off since 2026-11-18 12:00 UTC: resume it first."
    assert (told.status, told.last_error) == ("failed", reason)
    assert len(world.webhook.told) == 1
    assert [facts for event, facts in world.monitor.lines if event == "webhook off"] == [
        {"client": "acme", "reason": NEVER.reason}
    ]
    assert sum(name == "WebhooksOff" for name, _, _ in world.monitor.values) == 1


def test_a_webhook_that_has_failed_for_days_is_switched_off() -> None:
    world = World(webhook=FakeCourier([AGAIN]))
    fail_for(world, FAILING_FOR.days - 0.1)
    assert world.health.health("acme").off_since is None
    fail_for(world, 0.1)
    health = world.health.health("acme")
    assert health.failing_since == NOON
    assert health.off_since == NOON + FAILING_FOR
    assert health.off_because == f"It took nothing for 3 days. {AGAIN.reason}"
    calls = len(world.webhook.told)
    fail_for(world, 0)
    assert len(world.webhook.told) == calls


def test_one_success_begins_the_days_anew() -> None:
    world = World(webhook=FakeCourier([AGAIN]))
    fail_for(world, 2.9)
    world.webhook.outcomes = [DONE]
    fail_for(world, 0)
    assert world.health.health("acme").failing_since is None
    world.webhook.outcomes = [AGAIN]
    fail_for(world, 2.9)
    assert world.health.health("acme").off_since is None


def test_two_failures_far_apart_switch_nothing_off() -> None:
    world = World(webhook=FakeCourier([AGAIN]))
    fail_for(world, 0)
    world.clock.advance(30 * 24 * 3600)
    fail_for(world, 0)
    health = world.health.health("acme")
    assert (health.failing_since, health.off_since) == (world.clock.now, None)
    fail_for(world, FAILING_FOR.days)
    assert world.health.health("acme").off_since == world.clock.now


@pytest.mark.parametrize(("beyond", "off"), [(0, True), (1, False)])
def test_the_days_go_on_over_a_silence_as_long_as_an_event_is_tried(
    beyond: int,
    off: bool,  # noqa: FBT001
) -> None:
    """Such is a receiver that asks for a day with `Retry-After`, each time."""
    world = World(webhook=FakeCourier([AGAIN]))
    for _ in range(FAILING_FOR.days):
        fail_for(world, 0)
        world.clock.advance(TELL_FOR.total_seconds() + beyond)
    fail_for(world, 0)
    assert (world.health.health("acme").off_since is not None) is off


@pytest.mark.parametrize("outcome", [AGAIN, GONE, DONE])
def test_a_test_says_nothing_of_how_a_webhook_fares(outcome: Outcome) -> None:
    world = World(webhook=FakeCourier([AGAIN]))
    fail_for(world, 0.5)
    before = world.health.health("acme")
    world.webhook.outcomes = [outcome]
    delivery = a_test("acme", "webhook", world.clock.now)
    world.store.add(delivery)
    assert world.service().deliver(notice_of(delivery)) is not None
    assert world.health.health("acme") == before


def test_what_is_known_from_before_there_was_a_last_failure_begins_anew_too() -> None:
    world = World(webhook=FakeCourier([AGAIN]))
    world.health.kept["acme"] = Health(url=HOOK, failing_since=NOON - timedelta(days=30))
    fail_for(world, 0)
    assert world.health.health("acme").off_since is None


def test_a_webhook_that_leads_elsewhere_is_on_again_and_mail_never_stops() -> None:
    world = World(webhook=FakeCourier([GONE, DONE]))
    world.service().deliver(notice_of(world.have()))
    mailed = world.service().deliver(notice_of(world.have(channel="mail")))
    world.directory.put(world.client.model_copy(update={"webhook": "https://new.example/"}))
    posted = world.service().deliver(notice_of(world.have()))
    assert mailed is not None
    assert posted is not None
    assert (mailed.status, posted.status) == ("delivered", "delivered")


def test_what_cannot_be_noted_of_a_webhook_harms_no_delivery() -> None:
    class Away(FakeHealthStore):
        def advance(self, client_id: str, before: Health, after: Health) -> bool:
            raise StorageUnavailable("The table does not answer.")

    world = World(webhook=FakeCourier([GONE]), health=Away())
    told = world.service().deliver(notice_of(world.have()))
    assert told is not None
    assert told.status == "failed"
