"""Hides how the parts of one request are timed, how much of its time is left, and who waits."""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

from chalicelib.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Result = TypeVar("Result")
# So many calls are made beside each other: fewer than the connections that botocore keeps.
AT_ONCE = 8
# Seconds that are left for the answer when the storage is waited for no longer.
AFTER_STORING = 1.0


class Stopwatch:
    """Adds up seconds by name; `timer` returns seconds and never runs backwards."""

    def __init__(self, timer: Callable[[], float] = time.perf_counter) -> None:
        self._timer = timer
        self._seconds: dict[str, float] = {}

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Count the time of the block under `name`, also when it raises."""
        started = self._timer()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + self._timer() - started

    @contextmanager
    def about(self, what: str, **ids: str) -> Iterator[None]:
        """Say what the laps in the block belong to, and its ids; only a trace keeps that."""
        del what, ids
        yield

    def annotate(self, **ids: str) -> None:
        """Add ids that are known only inside of an `about`; only a trace keeps them."""

    def milliseconds(self) -> dict[str, float]:
        """Return what was counted so far, in the order of the first laps."""
        return {name: seconds * 1000 for name, seconds in self._seconds.items()}


class Deadline:
    """The end of a request's time; `timer` returns seconds and never runs backwards."""

    def __init__(self, seconds: float, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._ends = timer() + seconds

    def left(self) -> float:
        """Return the seconds until the end, never below zero."""
        return max(0.0, self._ends - self._timer())


def in_time(call: Callable[[], Result], seconds: float) -> Result:
    """Return what `call` returns, or raise what it raises, within `seconds`.

    Raises TimeoutError after that, and at once, without a call, where there is no time at all. The
    call goes on in a thread of its own and nobody hears of it again: nothing else lets go of one
    that hangs.
    """
    if seconds <= 0:
        raise TimeoutError
    under_way = _begun(call)
    try:
        return under_way.made.result(seconds)
    except TimeoutError:
        under_way.given_up.set()
        raise


def awaited(call: Callable[[], Result], deadline: Deadline) -> Result:
    """Return what a call of the storage returns, or raise what it raises, while there is time.

    Raises StorageUnavailable when time is over; nothing is called when it is over already.
    """
    try:
        return in_time(call, deadline.left() - AFTER_STORING)
    except TimeoutError:
        raise StorageUnavailable("The storage is too slow just now.") from None


def pause(seconds: float) -> None:
    """Wait before something is tried again; in a call that `in_time` makes, only while it waits.

    Raises StorageUnavailable once it has given up: what is tried later would come after the answer,
    in a Lambda function even in the time of another request.
    """
    if _given_up().wait(seconds):
        raise StorageUnavailable("Nobody waits for this any more.")


def is_given_up() -> bool:
    """Tell whether `in_time` has given up the call that this thread makes, if it makes one."""
    return _given_up().is_set()


def _given_up() -> threading.Event:
    given_up: threading.Event = getattr(_call, "given_up", _NEVER)
    return given_up


def side_by_side(calls: Sequence[Callable[[], None]], deadline: Deadline, spare: float) -> None:
    """Make calls beside each other, eight at a time, and raise what the first raises that fails.

    Raises TimeoutError when they have not all ended while `deadline` still has `spare` seconds.
    After an error or that, calls that were begun may still be under way.
    """
    if deadline.left() <= spare:
        raise TimeoutError
    waiting: SimpleQueue[Callable[[], None]] = SimpleQueue()
    for call in calls:
        waiting.put(call)

    def make() -> None:
        with suppress(Empty):
            while True:
                waiting.get_nowait()()

    begun = [_begun(make).made for _ in range(min(AT_ONCE, len(calls)))]
    ended, others = wait(begun, deadline.left() - spare, FIRST_EXCEPTION)
    for one in ended:
        one.result()
    if others:
        raise TimeoutError


@dataclass(frozen=True, slots=True)
class _UnderWay(Generic[Result]):
    """A call in a thread of its own."""

    made: Future[Result]
    given_up: threading.Event


_call = threading.local()  # `given_up` of the call that this thread makes
_NEVER = threading.Event()


def _begun(call: Callable[[], Result]) -> _UnderWay[Result]:
    begun: _UnderWay[Result] = _UnderWay(Future(), threading.Event())

    def make() -> None:
        _call.given_up = begun.given_up
        try:
            begun.made.set_result(call())
        except BaseException as error:  # noqa: BLE001 - handed over to whoever waits
            begun.made.set_exception(error)

    threading.Thread(target=make, daemon=True).start()
    return begun
