"""Money adds up: every total is the sum of the lines that are shown, to the cent."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from admin_cli.__main__ import run
from admin_cli.usage.commands import last_day, parse_day, parse_month
from admin_cli.usage.invoicing import Invoice, cents, invoice, totals
from admin_cli.usage.views import chart, csv_text, gate_note
from chalicelib.domain import Price
from tests.fakes.values import a_plan

if TYPE_CHECKING:
    from chalicelib.domain import Plan

amounts = st.decimals(0, 99_999, places=2)
rates = st.decimals(0, 99, places=4)
prices = st.builds(
    Price,
    currency=st.sampled_from(["EUR", "CHF"]),
    monthly=amounts,
    included=st.integers(0, 10_000),
    overage=rates,
)
counts = st.integers(0, 1_000_000)


def billed(plan: Plan, studies: int) -> Invoice:
    made = invoice("acme", "Acme", "2026-11", plan, studies)
    assert made is not None
    return made


def priced(monthly: str = "290.00", included: int = 1000, overage: str = "0.35") -> Plan:
    fields = {"currency": "EUR", "monthly": monthly, "included": included, "overage": overage}
    return a_plan(price=fields)


@pytest.mark.parametrize(
    ("studies", "beyond", "amount", "total"),
    [
        (0, 0, "0.00", "290.00"),
        (1000, 0, "0.00", "290.00"),
        (1001, 1, "0.35", "290.35"),
        (2000, 1000, "350.00", "640.00"),
    ],
)
def test_what_is_included_costs_nothing_more(
    studies: int, beyond: int, amount: str, total: str
) -> None:
    made = billed(priced(), studies)
    assert made.overage_studies == beyond
    assert (str(made.overage_amount), str(made.total)) == (amount, total)


def test_half_a_cent_is_rounded_up() -> None:
    assert str(billed(priced(overage="0.0050", included=0), 1).overage_amount) == "0.01"
    assert str(billed(priced(overage="0.0049", included=0), 1).overage_amount) == "0.00"
    assert str(billed(priced(overage="0.0950", included=0), 7).overage_amount) == "0.67"


def test_a_plan_without_a_price_makes_no_invoice() -> None:
    assert invoice("acme", "Acme", "2026-11", a_plan(), 10) is None


@given(st.lists(st.tuples(prices, counts), max_size=20))
def test_totals_are_the_sums_of_what_is_shown(months: list[tuple[Price, int]]) -> None:
    made = [billed(a_plan(price=price), studies) for price, studies in months]
    for one in made:
        shown = [Decimal(str(amount)) for amount in (one.base, one.overage_amount)]
        assert sum(shown) == one.total == cents(one.total)
        # Never off by more than half a cent from the exact product.
        exact = one.overage_price * max(0, one.studies - one.included)
        assert abs(exact - one.overage_amount) <= Decimal("0.005")
    for currency, total in totals(made).items():
        assert total == sum(one.total for one in made if one.currency == currency)
        assert -total.as_tuple().exponent == 2 or total == 0  # type: ignore[operator]


def test_amounts_are_text_in_json() -> None:
    assert '"total":"290.35"' in billed(priced(), 1001).model_dump_json()


@pytest.mark.parametrize(
    ("month", "last"),
    [("2026-11", 30), ("2026-12", 31), ("2028-02", 29), ("2027-02", 28), ("2099-12", 31)],
)
def test_a_month_has_its_days(month: str, last: int) -> None:
    first = parse_month(month)
    assert (first.isoformat(), last_day(first).isoformat()) == (f"{month}-01", f"{month}-{last}")


@pytest.mark.parametrize("month", ["", "2026", "2026-13", "2026-1", "november", "2026-11-01"])
def test_what_is_no_month_is_wrong_usage(month: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["usage", "invoice", "--month", month]) == 2
    told = capsys.readouterr()
    assert "a month such as 2026-11" in told.err
    assert (told.out, told.err.count("\n")) == ("", 1)


# --- how it is shown --------------------------------------------------------------------


def test_csv_quotes_what_it_must_and_holds_no_formula() -> None:
    rows = [{"name": 'A, "B"', "n": 3}, {"name": "=cmd()", "n": -1}]
    assert csv_text(("name", "n"), rows) == 'name,n\r\n"A, ""B""",3\r\n\'=cmd(),-1'


def test_a_chart_has_a_bar_for_each_day_and_fits_80_columns() -> None:
    first = date(2026, 11, 1)
    used = {"acme": {first: 10, first + timedelta(days=2): 10_000}, "b": {first: 90}}
    lines = chart(used, first, date(2026, 11, 30))
    assert len(lines) == 30
    assert lines[0] == "2026-11-01     100 ▌"
    assert lines[1] == "2026-11-02       0"
    assert lines[2] == "2026-11-03  10,000 " + "█" * 50
    assert max(len(line) for line in lines) <= 80


def test_a_long_time_is_charted_by_month() -> None:
    used = {"acme": {date(2026, 1, 5): 1, date(2026, 3, 5): 2}}
    lines = chart(used, date(2026, 1, 1), date(2026, 3, 31))
    assert [line.split()[:2] for line in lines] == [
        ["2026-01", "1"],
        ["2026-02", "0"],
        ["2026-03", "2"],
    ]


def test_nothing_used_is_charted_without_bars() -> None:
    assert chart({}, date(2026, 11, 1), date(2026, 11, 2)) == ["2026-11-01  0", "2026-11-02  0"]


@pytest.mark.parametrize(
    ("studies", "requests", "note"),
    [
        (5, None, "API Gateway has no figures"),
        (5, 5, "ok"),
        (5, 90, "ok"),
        (5, 3, "2 studies without a request"),
    ],
)
def test_the_gateway_must_have_counted_at_least_the_studies(
    studies: int, requests: int | None, note: str
) -> None:
    assert gate_note(studies, requests) == note


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "1999-12-31", "2026-02-30", "today"])
def test_a_day_that_cannot_be_reckoned_with_is_refused(day: str) -> None:
    with pytest.raises(typer.BadParameter, match="a day such as"):
        parse_day(day)
    with pytest.raises(typer.BadParameter, match="a month such as"):
        parse_month(day)
