"""Ending in good order: what a serving command does with Ctrl-C, `kill` and a closed terminal."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

# SIGINT too, though Python has a handler: a shell starts background jobs with it ignored.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(Exception):
    """Somebody asked this process to end."""


@contextmanager
def ending_signals() -> Iterator[None]:
    """Raise Ended in the main thread at the first request to end, whatever is under way."""

    def end(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise Ended

    before = {number: signal.signal(number, end) for number in _ENDING}
    if before[signal.SIGHUP] is signal.SIG_IGN:  # started by nohup: to go on without a terminal
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def deafen() -> None:
    """Ignore further requests: while stopping, a second Ctrl-C would leave things running."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
