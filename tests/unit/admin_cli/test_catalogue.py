from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from admin_cli.console import CliError
from admin_cli.tenants.catalogue import load_plans

if TYPE_CHECKING:
    from pathlib import Path

DAYS = {"day": 1, "week": 7, "month": 28}

GOOD = """
[small]
title = "Small"
studies = { limit = 5, period = "day" }
requests = { limit = 100, period = "day" }
throttle = { rate_per_second = 0.5, burst = 2 }
"""


PRICE = 'price = { currency = "EUR", monthly = "9.90", included = 5, overage = "0.125" }'


def test_a_price_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "plans.toml"
    path.write_text(GOOD + PRICE)
    price = load_plans(path)["small"].price
    assert price is not None
    assert (str(price.monthly), str(price.overage)) == ("9.90", "0.125")


def test_the_shipped_catalogue_offers_a_choice() -> None:
    assert len(load_plans()) >= 3


@pytest.mark.parametrize("name", load_plans())
def test_the_shipped_gate_lets_every_paid_study_and_its_polls_through(name: str) -> None:
    plan = load_plans()[name]
    paid = plan.studies.limit / DAYS[plan.studies.period]
    let_through = plan.requests.limit / DAYS[plan.requests.period]
    assert let_through >= 10 * paid


def test_a_file_is_read_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "plans.toml"
    path.write_text(GOOD + GOOD.replace("small", "another"))
    plans = load_plans(path)
    assert list(plans) == ["small", "another"]
    assert plans["small"].throttle.rate_per_second == 0.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no plan"),
        ("[small", "cannot be read"),
        ("small = 3", "plan small"),
        (GOOD.replace("limit = 5", "limit = 0"), "plan small: studies.limit"),
        (GOOD.replace('"day"', '"year"', 1), "plan small: studies.period"),
        (GOOD.replace("burst", "bursts"), "plan small: throttle.burst"),
        (GOOD + "price = 3", "plan small: price"),
        (GOOD + PRICE.replace('"9.90"', "9.90"), "plan small: price.monthly.* as text"),
        (GOOD + PRICE.replace('"9.90"', '"9.901"'), "plan small: price.monthly"),
        (GOOD + PRICE.replace('"9.90"', '"-1"'), "plan small: price.monthly"),
        (GOOD + PRICE.replace("EUR", "euro"), "plan small: price.currency"),
    ],
)
def test_a_broken_file_is_refused_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "plans.toml"
    path.write_text(text)
    with pytest.raises(CliError, match=said):
        load_plans(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="cannot be read"):
        load_plans(tmp_path / "plans.toml")
