"""Deliveries over their whole life on fakes, and killed between any two of their side effects."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain import FAILING_FOR, TELL_FOR, Health, Outcome, Study, StudyStatus
from chalicelib.errors import StorageUnavailable
from chalicelib.services.delivering import (
    ENDED_BY_ITSELF,
    HOLD,
    DeliveryService,
    a_test,
    deliveries_for,
    pause,
)
from chalicelib.services.switching import Switch
from tests.fakes.clock import FixedClock
from tests.fakes.deliveries import (
    FakeCourier,
    FakeDeliveryStore,
    FakeHealthStore,
    FakeOutbox,
    a_delivery,
    notice_of,
)
from tests.fakes.operations import FakeMonitor
from tests.fakes.tenants import FakeDirectory
from tests.fakes.values import NOON, a_client, a_study

if TYPE_CHECKING:
    from collections.abc import Callable

    from chalicelib.domain import Client, Delivery

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "delivery.md"
DONE = Outcome(verdict="delivered")
AGAIN = Outcome(verdict="later", reason="The server answered 503.")
NEVER = Outcome(verdict="never", reason="The server answered 410, gone for good.")
HOOK = "https://hooks.example/xray"


@dataclass
class World:
    """The service with everything it works on; `chance` is what it draws."""

    clock: FixedClock = field(default_factory=lambda: FixedClock(NOON))
    store: FakeDeliveryStore = field(default_factory=FakeDeliveryStore)
    directory: FakeDirectory = field(default_factory=FakeDirectory)
    mail: FakeCourier = field(default_factory=FakeCourier)
    webhook: FakeCourier = field(default_factory=FakeCourier)
    health: FakeHealthStore = field(default_factory=FakeHealthStore)
    monitor: FakeMonitor = field(default_factory=FakeMonitor)
    chance: float = 0.5
    client: Client = field(default_factory=lambda: a_client(mail=True, webhook=HOOK))

    def __post_init__(self) -> None:
        self.outbox = FakeOutbox(self.clock)
        self.directory.put(self.client)

    def service(self, wrap: Callable[[Any], Any] = lambda part: part) -> DeliveryService:
        """Return the service as a new process would have it, with its parts wrapped."""
        return DeliveryService(
            store=wrap(self.store),
            directory=wrap(self.directory),
            outbox=wrap(self.outbox),
            couriers={"mail": wrap(self.mail), "webhook": wrap(self.webhook)},
            switch=Switch(wrap(self.health), self.monitor, self.clock),
            monitor=self.monitor,
            clock=self.clock,
            chance=lambda: self.chance,
        )

    def have(self, **fields: Any) -> Delivery:
        delivery = a_delivery(**fields)
        self.store.add(delivery)
        return delivery

    def now(self, delivery: Delivery) -> Delivery:
        found = self.store.get(delivery.client_id, delivery.id, delivery.channel)
        assert found is not None
        return found

    def sweep_until_done(self, delivery: Delivery, longest: timedelta = TELL_FOR * 2) -> None:
        """Ring for what is due, every minute, as the sweeper does, until it has ended."""
        end = self.clock.now + longest
        while self.now(delivery).status == "pending" and self.clock.now < end:
            for due in self.store.due(self.clock.now):
                self.service().deliver(notice_of(due))
            self.clock.advance(60)


# --- which deliveries there are ---------------------------------------------------------


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


# --- one try ----------------------------------------------------------------------------


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


# --- tries over a day -------------------------------------------------------------------


def test_tries_go_on_for_a_day_and_no_longer() -> None:
    world = World(webhook=FakeCourier([AGAIN]))
    delivery = world.have()
    world.sweep_until_done(delivery)
    found = world.now(delivery)
    assert (found.status, found.last_error) == ("failed", AGAIN.reason)
    assert found.attempt == len(world.webhook.told)
    assert NOON + TELL_FOR * 0.75 < world.clock.now <= NOON + TELL_FOR + timedelta(minutes=2)


@pytest.mark.parametrize(("chance", "tries"), [(0.0, 960), (0.5, 16), (0.999, 10)])
def test_how_many_tries_there_are(chance: float, tries: int) -> None:
    """The figures in docs/delivery.md; with chance 0 each waits for HOLD alone."""
    world = World(webhook=FakeCourier([AGAIN]), chance=chance)
    delivery = world.have()
    while (found := world.now(delivery)).next_at is not None:
        world.clock.now = max(world.clock.now, found.next_at)
        world.service().deliver(notice_of(found))
    assert found.attempt == tries


def test_a_server_that_comes_back_is_told() -> None:
    world = World(webhook=FakeCourier([AGAIN, AGAIN, AGAIN, AGAIN, DONE]))
    delivery = world.have()
    world.sweep_until_done(delivery)
    found = world.now(delivery)
    assert (found.status, found.attempt, found.last_error) == ("delivered", 5, "")


def test_a_test_is_tried_once() -> None:
    world = World(webhook=FakeCourier([AGAIN]))
    delivery = a_test("acme", "webhook", NOON)
    world.store.add(delivery)
    told = world.service().deliver(notice_of(delivery))
    assert told is not None
    assert (told.status, told.last_error) == ("failed", AGAIN.reason)


def test_what_waited_for_more_than_a_day_is_tried_once() -> None:
    """After an outage of our own an event is still told; it has had no try yet."""
    world = World(webhook=FakeCourier([AGAIN]))
    delivery = world.have()
    world.clock.advance(30 * 3600)
    told = world.service().deliver(notice_of(delivery))
    assert told is not None
    assert (told.status, told.attempt) == ("failed", 1)


def test_after_a_day_what_was_tried_is_given_up_without_another() -> None:
    world = World()
    delivery = world.have(attempt=3, last_error=AGAIN.reason)
    world.clock.advance(24 * 3600)
    told = world.service().deliver(notice_of(delivery))
    assert told is not None
    assert (told.status, told.attempt, told.last_error) == ("failed", 3, AGAIN.reason)
    assert world.webhook.told == []


@given(st.integers(1, 2000), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_longer_than_a_run_and_never_too_long(attempt: int, chance: float) -> None:
    assert HOLD <= pause(attempt, chance) <= HOLD + timedelta(hours=4)


@given(st.integers(1, 2000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow(attempt: int, chance: float) -> None:
    assert pause(attempt, chance) <= pause(attempt + 1, chance)


def minutes(text: str) -> float:
    """Return e.g. `1 h 23 min` in minutes."""
    hours, _, rest = text.rpartition(" h ")
    return 60 * int(hours or 0) + float(rest.removesuffix(" min"))


def test_the_table_in_the_documentation_is_the_schedule() -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    head = lines.index("| after try | waits at least | on average | at most |")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[head + 2 :][:6]]
    for attempt, (name, *told) in enumerate(rows, start=1):
        assert name.startswith(str(attempt))
        for chance, text in zip((0, 0.5, 1), told, strict=True):
            assert abs(pause(attempt, chance).total_seconds() / 60 - minutes(text)) <= 0.5
    assert pause(6, 1) == pause(7, 1) == pause(60, 1)


@pytest.mark.parametrize(
    ("wait", "waited"),
    [
        (timedelta(0), HOLD + timedelta(minutes=1)),  # the schedule's own pause is longer
        (timedelta(minutes=30), timedelta(minutes=30)),
        (timedelta(hours=20), timedelta(hours=20)),
        (timedelta(hours=24), TELL_FOR - HOLD),  # a last try within the day
        (timedelta(days=10_000), TELL_FOR - HOLD),
    ],
)
def test_a_server_that_asks_for_time_gets_it_within_the_day(
    wait: timedelta, waited: timedelta
) -> None:
    asked = AGAIN.model_copy(update={"wait": wait})
    world = World(webhook=FakeCourier([asked, DONE]))
    delivery = world.have()
    told = world.service().deliver(notice_of(delivery))
    assert told is not None
    assert (told.status, told.next_at) == ("pending", NOON + waited)
    world.sweep_until_done(delivery)
    assert (world.now(delivery).status, world.now(delivery).attempt) == ("delivered", 2)


# --- webhooks that are gone -------------------------------------------------------------


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


# --- crashes ----------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a process that ends here: no handler of the code under test may catch it."""


@dataclass
class Fuse:
    """Ends the process before, or right after, the call of this number."""

    number: int
    after: bool
    error: type[BaseException] = Killed
    made: int = 0

    def wrap(self, target: Any) -> Any:
        return _Fused(target, self)


class _Fused:
    def __init__(self, target: Any, fuse: Fuse) -> None:
        self._target = target
        self._fuse = fuse

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._target, name)

        def call(*args: Any) -> Any:
            fuse = self._fuse
            fuse.made += 1
            if fuse.made == fuse.number and not fuse.after:
                raise fuse.error(name)
            answer = method(*args)
            if fuse.made == fuse.number:
                raise fuse.error(name)
            return answer

        return call


# get, advance (claim), client, erased, health, tell, advance (note), send; what is noted of the
# webhook after that is lost without harm
CALLS = 8


def killed_at(number: int, *, after: bool, outcomes: list[Outcome], error: Any) -> World:
    world = World(webhook=FakeCourier(outcomes))
    delivery = world.have()
    fuse = Fuse(number, after, error)
    try:
        world.service(fuse.wrap).deliver(notice_of(delivery))
    except (Killed, StorageUnavailable):
        pass
    else:
        assert fuse.made < number  # there are fewer calls on this path
    world.sweep_until_done(delivery)
    return world


@pytest.mark.parametrize("error", [Killed, StorageUnavailable])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_a_crash_makes_no_client_hear_nothing(number: int, after: bool, error: Any) -> None:  # noqa: FBT001
    """The sweeper alone carries on: nobody sends the message again."""
    world = killed_at(number, after=after, outcomes=[DONE], error=error)
    told = [one for _, one in world.webhook.told]
    assert 1 <= len(told) <= 2
    assert len({one.id for one in told}) == 1
    [logged] = world.store.log("acme", 10)
    assert (logged.status, logged.next_at, logged.last_error) == ("delivered", None, "")
    assert len(told) <= logged.attempt <= 2


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_a_crash_at_a_failure_is_made_good_too(number: int, after: bool) -> None:  # noqa: FBT001
    world = killed_at(number, after=after, outcomes=[AGAIN, DONE], error=Killed)
    [logged] = world.store.log("acme", 10)
    assert logged.status == "delivered"
    assert 2 <= logged.attempt <= 3


def test_only_a_crash_between_try_and_note_tells_twice() -> None:
    twice = {
        (number, after)
        for number in range(1, CALLS + 1)
        for after in (False, True)
        if len(killed_at(number, after=after, outcomes=[DONE], error=Killed).webhook.told) == 2
    }
    # After the sixth call, the try itself, and before the seventh, its note.
    assert twice == {(6, True), (7, False)}


def test_a_cut_off_try_says_so_in_the_log() -> None:
    world = World()
    delivery = world.have()
    with pytest.raises(Killed):
        world.service(Fuse(6, after=True).wrap).deliver(notice_of(delivery))
    found = world.now(delivery)
    assert (found.status, found.attempt, found.last_error) == ("pending", 1, ENDED_BY_ITSELF)
    assert cast("datetime", found.next_at) >= NOON + HOLD
