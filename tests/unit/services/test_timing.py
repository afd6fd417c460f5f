"""The stopwatch adds up, also when a block fails."""

from __future__ import annotations

from contextlib import suppress

import pytest

from chalicelib.services.timing import Stopwatch
from tests.fakes.clock import FixedClock


def test_laps_add_up_by_name_in_the_order_of_their_first() -> None:
    clock = FixedClock()
    stopwatch = Stopwatch(clock.monotonic)
    for name, seconds in (("decode", 0.5), ("store", 0.25), ("decode", 1)):
        with stopwatch.lap(name):
            clock.advance(seconds)
    assert stopwatch.milliseconds() == pytest.approx({"decode": 1500, "store": 250}, abs=0.01)


def test_a_lap_that_raises_is_counted() -> None:
    clock = FixedClock()
    stopwatch = Stopwatch(clock.monotonic)
    with suppress(ValueError), stopwatch.lap("decode"):
        clock.advance(2)
        raise ValueError
    assert stopwatch.milliseconds() == pytest.approx({"decode": 2000}, abs=0.01)
