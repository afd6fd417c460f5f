"""What the services need to be run: the time, and somebody who watches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from datetime import datetime

Unit = Literal["Count", "Milliseconds", "Seconds"]


class Unreadable(Protocol):
    """Is told of a record that does not validate; whoever read it goes on with the next.

    Where nobody is told, the first such record ends the reading with its error.
    """

    def __call__(self, error: Exception, **ids: str) -> None:
        """Take the error, whose text may quote the record, and the `ids` of the record."""


class Clock(Protocol):
    """Tells the time."""

    def __call__(self) -> datetime:
        """Return now as an aware time in UTC."""


class Monitor(Protocol):
    """Tells the operator what happens, never what is in an image. No method raises."""

    def note(self, event: str, **facts: str | float | None) -> None:
        """Write a line of the log."""

    def measure(self, metric: str, value: float, unit: Unit, **dimensions: str) -> None:
        """Add a value to a metric."""

    def defect(self, event: str, error: Exception, **facts: str | float | None) -> None:
        """Write where and of what kind an error is that is ours; never its text."""
