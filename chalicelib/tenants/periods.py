"""Calendar periods of a quota, in UTC whatever the caller's time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from chalicelib.errors import QuotaExceeded

if TYPE_CHECKING:
    from chalicelib.domain import Quota


def day(at: datetime) -> str:
    """Return the UTC date of a moment, e.g. ``2026-11-22``."""
    return at.astimezone(UTC).date().isoformat()


def start(quota: Quota, now: datetime) -> datetime:
    """Return 00:00 UTC of the day, of the Monday or of the first of the month around `now`.

    Raises ValueError for a time without a zone.
    """
    if now.tzinfo is None:
        raise ValueError("a time without a zone has no place in a calendar")
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if quota.period == "week":
        return midnight - timedelta(days=midnight.weekday())
    return midnight.replace(day=1) if quota.period == "month" else midnight


def end(quota: Quota, now: datetime) -> datetime:
    """Return the first moment of the next period. Raises ValueError as `start` does."""
    begin = start(quota, now)
    if quota.period == "month":
        # No month is longer than 31 days and none shorter than 28.
        return (begin + timedelta(days=31)).replace(day=1)
    return begin + timedelta(days=7 if quota.period == "week" else 1)


def refusal(quota: Quota, at: datetime, now: datetime) -> QuotaExceeded:
    """Return the error for a study of `at`, whose period has no unit left, as of `now`."""
    return QuotaExceeded.until(end(quota, at), quota.limit, quota.period, now)
