"""Who is told of what, and what becomes of one delivery."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.domain import Outcome, Study, StudyStatus
from chalicelib.services.delivering import HOLD, deliveries_for
from tests.fakes.deliveries import FakeCourier, FakeDeliveryStore, a_delivery, notice_of
from tests.fakes.values import NOON, a_client, a_study
from tests.unit.services.delivering.conftest import AGAIN, DONE, HOOK, NEVER, World

if TYPE_CHECKING:
    from chalicelib.domain import Client, Delivery


@pytest.mark.parametrize(
    ("options", "channels"),
    [
        ({}, []),
        ({"mail": True}, ["mail"]),
        ({"webhook": HOOK}, ["webhook"]),
        ({"mail": True, "webhook": HOOK}, ["mail", "webhook"]),
    ],
)
def test_a_client_is_told_where_it_wants_to_be(
    options: dict[str, Any], channels: list[str]
) -> None:
    study = a_study()
    told = deliveries_for(a_client(**options), study, NOON)
    assert [one.channel for one in told] == channels
    assert len({one.id for one in told}) <= 1
    for one in told:
        assert (one.client_id, one.study_id, one.kind) == ("acme", study.id, "study.succeeded")
        assert (one.status, one.attempt, one.next_at, one.created_at) == ("pending", 0, NOON, NOON)


@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        (StudyStatus.SUCCEEDED, ["study.succeeded"]),
        (StudyStatus.FAILED, ["study.failed"]),
        (StudyStatus.DELETED, []),
        (StudyStatus.RUNNING, []),
        (StudyStatus.QUEUED, []),
    ],
)
def test_only_an_end_is_told(status: StudyStatus, kinds: list[str]) -> None:
    study: Study = a_study(status=status)
    told = deliveries_for(a_client(webhook=HOOK), study, NOON)
    assert [one.kind for one in told] == kinds


def test_each_end_is_an_event_of_its_own() -> None:
    ids = {deliveries_for(a_client(mail=True), a_study(), NOON)[0].id for _ in range(50)}
    assert len(ids) == 50


@pytest.mark.parametrize("channel", ["mail", "webhook"])
def test_what_is_told_is_delivered(channel: str) -> None:
    world = World()
    delivery = world.have(channel=channel)
    told = world.service().deliver(notice_of(delivery))
    assert told == world.now(delivery)
    assert (told.status, told.attempt, told.next_at, told.last_error) == ("delivered", 1, None, "")
    used, idle = (world.mail, world.webhook) if channel == "mail" else (world.webhook, world.mail)
    assert [(client, one.id) for client, one in used.told] == [(world.client, delivery.id)]
    assert idle.told == []
    assert world.outbox.sent == []


def test_a_message_that_comes_twice_tells_once() -> None:
    world = World()
    delivery = world.have()
    assert world.service().deliver(notice_of(delivery)) is not None
    assert world.service().deliver(notice_of(delivery)) is None
    assert len(world.webhook.told) == 1


def test_an_unknown_delivery_is_nothing() -> None:
    world = World()
    assert world.service().deliver(notice_of(a_delivery())) is None
    assert world.webhook.told == []


def test_what_comes_early_is_left_to_the_sweeper() -> None:
    world = World()
    delivery = world.have(next_at=NOON + timedelta(seconds=6))
    assert world.service().deliver(notice_of(delivery)) is None
    assert world.now(delivery) == delivery
    world.clock.advance(1)  # within what clocks may differ by
    assert world.service().deliver(notice_of(delivery)) is not None


def test_a_failed_try_is_noted_and_sent_again() -> None:
    world = World(webhook=FakeCourier([AGAIN]))
    delivery = world.have()
    told = world.service().deliver(notice_of(delivery))
    assert told is not None
    assert (told.status, told.attempt, told.last_error) == ("pending", 1, AGAIN.reason)
    assert told.next_at == NOON + HOLD + timedelta(minutes=1)  # half of the first spread
    assert world.outbox.sent == [told]


def test_while_one_is_at_it_another_leaves_it_alone() -> None:
    world = World()
    delivery = world.have()
    seen: list[object] = []

    class Slow(FakeCourier):
        def tell(self, client: Client, delivery: Delivery) -> Outcome:
            # The same message once more, and the sweeper, up to the longest run of a function.
            for seconds in (0, 30, 30):
                world.clock.advance(seconds)
                seen.append(world.service().deliver(notice_of(delivery)))
                seen.extend(world.store.due(world.clock.now))
            return super().tell(client, delivery)

    world.webhook, world.chance = Slow(), 0.0
    told = world.service().deliver(notice_of(delivery))
    assert told is not None
    assert told.status == "delivered"
    assert seen == [None, None, None]
    assert len(world.webhook.told) == 1


def test_what_can_never_be_told_is_given_up_at_once() -> None:
    world = World(webhook=FakeCourier([NEVER]))
    delivery = world.have()
    told = world.service().deliver(notice_of(delivery))
    assert told is not None
    assert (told.status, told.next_at, told.last_error) == ("failed", None, NEVER.reason)
    assert world.outbox.sent == []


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        (a_client(mail=True), "The webhook was switched off."),
        (a_client(webhook=HOOK, deleting_at=NOON), "The client is being deleted."),
        (None, "The client is being deleted."),
    ],
)
def test_nobody_is_told_who_does_not_want_it_any_more(client: Client | None, reason: str) -> None:
    world = World()
    delivery = world.have(client_id="acme" if client else "gone")
    if client:
        world.directory.put(client)
    told = world.service().deliver(notice_of(delivery))
    assert told is not None
    assert (told.status, told.last_error) == ("failed", reason)
    assert world.webhook.told == []


@pytest.mark.parametrize("channel", ["mail", "webhook"])
def test_nobody_is_told_of_a_study_that_was_erased(channel: str) -> None:
    world = World()
    delivery = world.have(channel=channel)
    assert delivery.study_id
    world.store.erased_studies.add(("other", delivery.study_id))
    kept = world.have(channel=channel)
    told = world.service().deliver(notice_of(kept))
    assert told is not None
    assert told.status == "delivered"
    world.store.erased_studies.add(("acme", delivery.study_id))
    told = world.service().deliver(notice_of(delivery))
    assert told is not None
    assert (told.status, told.last_error) == ("failed", "The study was erased.")
    assert len(world.webhook.told) + len(world.mail.told) == 1
    assert world.health.health("acme").failing_since is None


def test_a_suspended_client_is_told_of_what_it_paid_for() -> None:
    world = World()
    delivery = world.have()
    world.directory.put(a_client(webhook=HOOK, status="suspended"))
    told = world.service().deliver(notice_of(delivery))
    assert told is not None
    assert told.status == "delivered"


def test_what_was_erased_meanwhile_does_not_come_back() -> None:
    world = World(webhook=FakeCourier([AGAIN]))
    delivery = world.have()
    service = world.service(lambda part: _Emptied(part) if part is world.store else part)
    assert service.deliver(notice_of(delivery)) is None
    assert len(world.webhook.told) == 1
    assert world.outbox.sent == []


class _Emptied(FakeDeliveryStore):
    """Loses a delivery after its try was claimed."""

    def __init__(self, before: FakeDeliveryStore) -> None:
        super().__init__()
        self._before = before
        self._claimed = False

    def get(self, client_id: str, event_id: str, channel: str) -> Delivery | None:
        return self._before.get(client_id, event_id, channel)

    def advance(self, before: Delivery, after: Delivery) -> bool:
        if not self._claimed:
            self._claimed = True
            return self._before.advance(before, after)
        return super().advance(before, after)


def test_the_operator_sees_each_try_and_no_address() -> None:
    world = World(webhook=FakeCourier([AGAIN, DONE]))
    delivery = world.have()
    world.sweep_until_done(delivery)
    facts = [facts for event, facts in world.monitor.lines if event == "delivery"]
    assert [(one["status"], one["attempt"], one["reason"]) for one in facts] == [
        ("pending", 1, AGAIN.reason),
        ("delivered", 2, ""),
    ]
    outcomes = [dimensions for _, _, dimensions in world.monitor.values]
    assert outcomes == [
        {"channel": "webhook", "outcome": "again"},
        {"channel": "webhook", "outcome": "delivered"},
    ]
    assert "hooks.example" not in repr(world.monitor.lines)
