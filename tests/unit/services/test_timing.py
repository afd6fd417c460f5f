"""The stopwatch adds up, also when a block fails; nobody waits longer than there is time."""

from __future__ import annotations

import time
from contextlib import suppress
from threading import Barrier, Event, Lock

import pytest

from chalicelib.errors import StorageUnavailable
from chalicelib.services.timing import (
    AFTER_STORING,
    AT_ONCE,
    Deadline,
    Stopwatch,
    awaited,
    in_time,
    pause,
    side_by_side,
)
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


def test_a_call_in_time_returns_or_raises() -> None:
    assert in_time(lambda: 7, 1) == 7
    with pytest.raises(ZeroDivisionError):
        in_time(lambda: 1 / 0, 1)


def test_a_call_that_hangs_is_not_waited_for_and_one_without_time_is_not_made() -> None:
    let_go, made = Event(), list[int]()
    with pytest.raises(TimeoutError):
        in_time(lambda: let_go.wait(30), 0.02)
    let_go.set()
    with pytest.raises(TimeoutError):
        in_time(lambda: made.append(1), 0)
    assert made == []


def test_a_call_of_the_storage_leaves_time_for_the_answer() -> None:
    let_go, made = Event(), list[int]()
    assert awaited(lambda: 7, Deadline(AFTER_STORING + 1)) == 7
    with pytest.raises(StorageUnavailable):
        awaited(lambda: let_go.wait(30), Deadline(AFTER_STORING + 0.02))
    let_go.set()
    with pytest.raises(StorageUnavailable):
        awaited(lambda: made.append(1), Deadline(AFTER_STORING))
    assert made == []


def test_a_call_that_was_given_up_tries_nothing_again() -> None:
    tried, ended = list[int](), Event()

    def call() -> None:
        try:
            for number in range(1000):
                tried.append(number)
                pause(0.05)
        except StorageUnavailable:
            ended.set()

    with pytest.raises(TimeoutError):
        in_time(call, 0.02)
    assert ended.wait(5)
    assert len(tried) < 1000


def test_a_pause_is_as_long_as_it_says_where_nobody_waits() -> None:
    began = time.monotonic()
    pause(0.05)
    assert time.monotonic() - began >= 0.05


def test_calls_are_made_beside_each_other_and_no_more_than_eight() -> None:
    together, at_once, most, lock = Barrier(AT_ONCE), list[int](), list[int](), Lock()

    def call() -> None:
        with lock:
            at_once.append(1)
            most.append(len(at_once))
        together.wait(10)  # goes on when eight have come
        with lock:
            at_once.pop()

    side_by_side([call] * 3 * AT_ONCE, Deadline(10), 1)
    assert (len(most), max(most)) == (3 * AT_ONCE, AT_ONCE)


def test_the_first_call_that_fails_is_told_of_at_once() -> None:
    let_go = Event()

    def fail() -> None:
        raise KeyError

    began = time.monotonic()
    with pytest.raises(KeyError):
        side_by_side([lambda: ignore(let_go.wait(30)), fail], Deadline(20), 1)
    assert time.monotonic() - began < 10
    let_go.set()


def test_calls_that_take_too_long_are_not_waited_for() -> None:
    let_go, made = Event(), list[int]()
    with pytest.raises(TimeoutError):
        side_by_side([lambda: ignore(let_go.wait(30))], Deadline(1.02), 1)
    let_go.set()
    with pytest.raises(TimeoutError):
        side_by_side([lambda: made.append(1)], Deadline(1), 1)
    assert made == []


def ignore(_: object) -> None:
    """Have an expression where a call without an answer is wanted."""
