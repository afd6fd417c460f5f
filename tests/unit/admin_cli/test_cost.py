"""The estimate of a month's bill: exact, adding up, never less for more work."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_cli.__main__ import run
from admin_cli.console import CliError
from admin_cli.cost.compare import OURS, SIZES, WAYS, compare, crossovers
from admin_cli.cost.model import serverless
from admin_cli.cost.prices import PRICES, load_prices
from admin_cli.cost.work import ALARMS, ENDPOINTS, ZONES, Workload
from tests.unit.documents import Shown, commands, prints

if TYPE_CHECKING:
    from collections.abc import Callable

    from admin_cli.cost.model import Bill

ROOT = Path(__file__).parents[3]
NOW = load_prices()


def works() -> st.SearchStrategy[Workload]:
    percent = st.decimals(0, 100, places=1)
    return st.builds(
        Workload,
        studies=st.integers(1, 10**8),
        looks=st.integers(0, 20),
        memory_mb=st.integers(128, 10240),
        latency_ms=st.integers(1, 60_000),
        image_mb=st.decimals(0, 100, places=2),
        retention_days=st.integers(1, 365),
        queued_percent=percent,
        cold_percent=st.none() | percent,
        clients=st.integers(1, 10_000),
        provisioned=st.just(0),
        peak=st.decimals(1, 20, places=1),
    )


@pytest.mark.parametrize("way", WAYS.values())
@given(work=works())
def test_a_bill_adds_up_and_nothing_is_negative(
    way: Callable[[Workload, Any], Bill], work: Workload
) -> None:
    bill = way(work, NOW)
    assert bill.total == sum(item.amount for item in bill.items)
    assert all(item.amount >= 0 for item in bill.items)
    assert len({item.name for item in bill.items}) == len(bill.items)


MORE = {
    "studies": st.integers(1, 10**7),
    "looks": st.integers(1, 10),
    "memory_mb": st.integers(1, 5000),
    "latency_ms": st.integers(1, 10_000),
    "image_mb": st.decimals("0.1", 50, places=1),
    "retention_days": st.integers(1, 300),
    "clients": st.integers(1, 1000),
    "provisioned": st.integers(1, 5),
}


@pytest.mark.parametrize("name", sorted(set(MORE) - {"provisioned"}))
@pytest.mark.parametrize("way", WAYS.values())
@given(work=works(), data=st.data())
def test_more_work_never_costs_less(
    way: Callable[[Workload, Any], Bill], name: str, work: Workload, data: st.DataObject
) -> None:
    more = replace(work, **{name: getattr(work, name) + data.draw(MORE[name])})
    assert way(more, NOW).total >= way(work, NOW).total


@given(work=works(), times=st.integers(2, 9))
def test_a_bill_follows_its_prices(work: Workload, times: int) -> None:
    fields = NOW.model_dump(by_alias=True)
    for group in fields.values():
        if isinstance(group, dict):
            for price in group.values():
                price["amount"] *= times
    dearer = type(NOW).model_validate(fields)
    total = serverless(work, NOW).total * times
    assert abs(serverless(work, dearer).total - total) < Decimal("1e-9") * (1 + total)


@given(work=works())
def test_at_a_crossover_the_cheaper_way_changes(work: Workload) -> None:
    for one in crossovers(work, NOW):
        assert {one.until_there, one.from_there} > {OURS}
        if one.studies is None:
            continue
        before, there = (replace(work, studies=one.studies - less) for less in (1, 0))
        cheaper, dearer = WAYS[one.until_there], WAYS[one.from_there]
        assert cheaper(before, NOW).total < dearer(before, NOW).total
        assert cheaper(there, NOW).total >= dearer(there, NOW).total


def test_functions_kept_warm_cost_by_the_hour() -> None:
    def warm(provisioned: int) -> Decimal:
        bill = serverless(Workload(provisioned=provisioned), NOW)
        return next(item.amount for item in bill.items if item.name == "Lambda kept warm")

    # 2.9375 GB for 730 hours at 0.0000041667.
    assert warm(1) == Decimal("2.9375") * 730 * 3600 * Decimal("0.0000041667")
    assert warm(3) == 3 * warm(1)


def test_the_comparison_is_what_each_way_costs() -> None:
    work = Workload()
    compared = compare(work, NOW)
    assert [one.studies for one in compared] == list(SIZES)
    for one in compared:
        for name, way in WAYS.items():
            assert one.totals[name] == way(replace(work, studies=one.studies), NOW).total


def test_what_is_counted_stands_in_the_foundation_and_the_configuration() -> None:
    template, problems = import_module("cfnlint.decode").decode(
        str(ROOT / ".chalice" / "foundation.yaml")
    )
    assert not problems
    resources = list(dict(template["Resources"]).values())
    kinds = [one["Type"] for one in resources]
    assert kinds.count("AWS::CloudWatch::Alarm") == ALARMS
    interface = [
        one["Properties"]["SubnetIds"]
        for one in resources
        if one["Type"] == "AWS::EC2::VPCEndpoint"
        and one["Properties"]["VpcEndpointType"] == "Interface"
    ]
    assert [len(subnets) for subnets in interface] == [ZONES] * ENDPOINTS
    config = json.loads((ROOT / ".chalice" / "config.json").read_text(encoding="utf-8"))
    assert config["lambda_memory_size"] == Workload().memory_mb


def test_every_price_is_exact_and_says_where_it_was_read() -> None:
    prices = dict(NOW.each())
    assert len(prices) > 25
    for name, price in prices.items():
        assert isinstance(price.amount, Decimal), name
        assert len(price.source) > 10, name
    assert set(NOW.assumed()) == {name for name, price in prices.items() if price.assumed}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('amount = "3.50"', "amount = 3.5"), "write the amount as text"),
        (('amount = "3.50"', 'amount = "-1"'), "greater than or equal to 0"),
        (("per = 1_000_000", "per = 0"), "greater than or equal to 1"),
        (('currency = "USD"', 'currency = "dollars"'), "currency"),
        (("[api_gateway.request]", "[api_gateway.nothing]"), "api_gateway.request"),
        (('date = "2026-11-22"', 'date = "soon"'), "date"),
        (("[sagemaker.data_gb]", "[sagemaker"), "cannot be read"),
    ],
)
def test_a_bad_price_file_is_refused_in_words(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(PRICES.read_text(encoding="utf-8").replace(*change, 1), encoding="utf-8")
    with pytest.raises(CliError, match=message):
        load_prices(path)


def test_a_missing_price_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"none\.toml cannot be read"):
        load_prices(tmp_path / "none.toml")


def test_the_command_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--output", "json", "cost", "--studies", "1000", "--provisioned", "1"]) == 0
    document = json.loads(capsys.readouterr().out)
    bill = serverless(Workload(studies=1000, provisioned=1), NOW)
    assert document["total"] == str(bill.total.quantize(Decimal("0.001")))
    assert [item["name"] for item in document["items"]] == [item.name for item in bill.items]
    assert len(document["comparison"]) == len(SIZES)
    assert document["assumed_prices"] == list(NOW.assumed())


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cost"]) == 0
    shown = capsys.readouterr().out
    assert "Interface endpoints" in shown
    assert "Assumed, to be confirmed: " in shown


@pytest.mark.parametrize(
    "wrong",
    [
        ["--studies", "0"],
        ["--image-mb", "-1"],
        ["--image-mb", "NaN"],
        ["--queued", "101"],
        ["--peak", "0.5"],
        ["--memory", "64"],
        ["--retention", "366"],
    ],
)
def test_wrong_usage_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cost", *wrong]) == 2
    assert wrong[0] in capsys.readouterr().err


@pytest.mark.parametrize("shown", commands("cost.md"), ids=lambda one: one.command)
def test_the_document_shows_what_the_command_prints(
    shown: Shown, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    assert shown.words[0] == "radgate"
    assert run(shown.words[1:]) == 0
    assert prints(shown, capsys.readouterr().out)


def test_a_document_that_is_out_of_date_is_noticed() -> None:
    shown = Shown("cost.md", run=False, command="radgate cost", printed=("one", "…", "three"))
    assert prints(shown, "one\ntwo\nthree  \n")
    assert not prints(shown, "one\ntwo\nfour\n")
    assert not prints(shown, "zero\none\nthree\n")
    assert not prints(shown, "one\nthree\nfour\n")
    assert prints(
        Shown("cost.md", run=False, command="radgate cost", printed=("one", "…")), "one\ntwo\n"
    )
