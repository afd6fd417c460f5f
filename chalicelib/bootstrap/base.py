"""The time, which everything here is told by."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Return the time as an aware time in UTC."""
    return datetime.now(UTC)
