from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain import Quota
from chalicelib.tenants import periods

PERIODS = ["day", "week", "month"]
moments = st.datetimes(
    min_value=datetime(1990, 1, 3),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.timezones(),
)


def quota(period: str, limit: int = 10) -> Quota:
    return Quota.model_validate({"limit": limit, "period": period})


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "now", "start", "end"),
    [
        ("day", "2026-02-28T23:59:59.999999", "2026-02-28", "2026-03-01"),
        ("day", "2026-03-01T00:00:00", "2026-03-01", "2026-03-02"),
        ("day", "2028-02-28T10:00:00", "2028-02-28", "2028-02-29"),
        ("week", "2026-11-22T23:59:59", "2026-11-16", "2026-11-23"),
        ("week", "2026-11-23T00:00:00", "2026-11-23", "2026-11-30"),
        ("week", "2027-01-01T12:00:00", "2026-12-28", "2027-01-04"),
        ("month", "2026-01-31T12:00:00", "2026-01-01", "2026-02-01"),
        ("month", "2028-02-29T12:00:00", "2028-02-01", "2028-03-01"),
        ("month", "2026-02-01T00:00:00", "2026-02-01", "2026-03-01"),
        ("month", "2026-12-31T23:59:59", "2026-12-01", "2027-01-01"),
        ("month", "2026-04-30T23:59:59", "2026-04-01", "2026-05-01"),
    ],
)
def test_edges_of_the_calendar(period: str, now: str, start: str, end: str) -> None:
    assert periods.start(quota(period), utc(now)) == utc(start)
    assert periods.end(quota(period), utc(now)) == utc(end)


@given(st.sampled_from(PERIODS), moments)
def test_every_moment_lies_in_exactly_one_period(period: str, now: datetime) -> None:
    start, end = periods.start(quota(period), now), periods.end(quota(period), now)
    assert start <= now < end
    assert periods.start(quota(period), end) == end
    assert periods.end(quota(period), end - timedelta(microseconds=1)) == end
    assert start.utcoffset() == end.utcoffset() == timedelta(0)


@given(moments)
def test_weeks_begin_on_monday(now: datetime) -> None:
    assert periods.start(quota("week"), now).isoweekday() == 1


def test_the_caller_s_time_zone_does_not_move_the_edge() -> None:
    tokyo = timezone(timedelta(hours=9))
    new_year_there = datetime(2027, 1, 1, 8, 59, tzinfo=tokyo)
    assert periods.start(quota("month"), new_year_there) == utc("2026-12-01")
    assert periods.day(new_year_there) == "2026-12-31"


def test_a_time_without_a_zone_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="zone"):
        periods.start(quota("day"), datetime(2026, 1, 1))  # noqa: DTZ001 - the point here


def test_a_refusal_says_when_to_come_back() -> None:
    now = utc("2026-11-30T23:59:58.200000")
    refused = periods.refusal(quota("month", 500), now, now)
    assert refused.retry_after == 2
    assert "500 studies of this month" in refused.detail
    assert "2026-12-01T00:00:00Z" in refused.detail


def test_a_refusal_never_asks_to_come_back_in_the_past() -> None:
    created = utc("2026-11-30T23:59:59")
    assert periods.refusal(quota("day"), created, created + timedelta(minutes=1)).retry_after == 1
