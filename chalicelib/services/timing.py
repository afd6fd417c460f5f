"""Hides how the parts of one request are timed, and how much of its time is left."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
