"""When a delivery is tried again, and for how long."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain import TELL_FOR
from chalicelib.services.delivering import HOLD, a_test, pause
from tests.fakes.deliveries import FakeCourier, notice_of
from tests.fakes.values import NOON
from tests.unit.services.delivering.conftest import AGAIN, DONE, World

DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "delivery.md"


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
