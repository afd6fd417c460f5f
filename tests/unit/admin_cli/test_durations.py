from __future__ import annotations

from datetime import timedelta

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from admin_cli.tenants.clients import parse_retention
from admin_cli.tenants.keys import parse_duration

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@given(st.integers(1, 500), st.sampled_from(sorted(SECONDS)))
def test_a_number_with_its_unit(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}").total_seconds() == number * SECONDS[unit]


def test_ten_years_are_the_most() -> None:
    assert parse_duration("3660d") == timedelta(days=3660)
    for text in ("3661d", "9999999w"):
        with pytest.raises(typer.BadParameter):
            parse_duration(text)


@pytest.mark.parametrize(
    "text", ["", "90", "d", "0d", "-1d", "1.5h", "1y", "90 d", "90D", "90d1h", "٣d", "99999999999w"]
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_duration(text)


@pytest.mark.parametrize(("text", "days"), [("1d", 1), ("24h", 1), ("4w", 28), ("365d", 365)])
def test_a_retention_is_whole_days(text: str, days: int) -> None:
    assert parse_retention(text) == timedelta(days=days)


@pytest.mark.parametrize("text", ["36h", "90m", "366d", "53w", "", "x"])
def test_every_other_retention_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_retention(text)
