"""GetUsage of the local AWS: what passed is counted by plan, key and day, beyond a restart."""

# ruff: noqa: SLF001 - the private functions of MiniStack are what is bridged

from __future__ import annotations

import json
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from admin_cli.local.counting import Usage

TODAY = date(2026, 11, 22)
KEY = {"id": "k1"}


def a_gateway(limit: int = 3) -> SimpleNamespace:
    """Return as much of MiniStack's module as counting touches; its quota refuses after `limit`."""
    plan = {"quota": {"limit": limit, "period": "MONTH"}}
    passed: list[str] = []

    def check_quota(key: dict[str, Any] | None, _api: str, _stage: str) -> object:
        if key is None:
            return None
        if len(passed) >= limit:
            return (429, {}, b"")
        passed.append(key["id"])
        return None

    return SimpleNamespace(
        _usage_plans={"p1": plan},
        _usage_plan_keys={"p1": {"k1": {}, "k2": {}}},
        _usage_plans_for_key=lambda _key, _api, stage: [("p1", plan, {})] if stage == "v1" else [],
        _check_quota=check_quota,
        _qp=lambda query, name: query.get(name),
        _v1_error=lambda code, _message, status: (status, {}, json.dumps(code).encode()),
        get_state=lambda: {"rest_apis": {}},
        load_persisted_state=lambda _data: None,
    )


def bridged(gateway: SimpleNamespace) -> Usage:
    usage = Usage(gateway, lambda: TODAY)
    usage.bridge()
    return usage


def asked(usage: Usage, first: date = TODAY, last: date = TODAY, **query: str) -> Any:
    query = {"startDate": str(first), "endDate": str(last), **query}
    status, _headers, body = usage.answer("p1", query)
    assert status == 200
    return json.loads(body)["values"]


def test_what_passes_is_counted_and_what_is_refused_is_not() -> None:
    gateway = a_gateway(limit=3)
    usage = bridged(gateway)
    assert asked(usage) == {}
    answers = [gateway._check_quota(KEY, "api", "v1") for _ in range(5)]
    assert [answer is None for answer in answers] == [True, True, True, False, False]
    assert gateway._check_quota(None, "api", "v1") is None  # a route without a key
    assert asked(usage) == {"k1": [[3, 0]]}


def test_each_day_has_its_figure_and_each_key_its_own() -> None:
    gateway = a_gateway(limit=10)
    usage = bridged(gateway)
    for key in (KEY, KEY, {"id": "k2"}):
        gateway._check_quota(key, "api", "v1")
    found = asked(usage, TODAY - timedelta(days=2), TODAY)
    assert {key: [used for used, _ in days] for key, days in found.items()} == {
        "k1": [0, 0, 2],
        "k2": [0, 0, 1],
    }
    assert found["k1"][-1] == [2, 8]
    assert asked(usage, keyId="k2") == {"k2": [[1, 9]]}


def test_a_deleted_key_is_forgotten_as_on_aws() -> None:
    gateway = a_gateway()
    usage = bridged(gateway)
    gateway._check_quota(KEY, "api", "v1")
    del gateway._usage_plan_keys["p1"]["k1"]
    assert asked(usage) == {}


def test_the_count_outlives_a_restart() -> None:
    first = a_gateway()
    bridged(first)
    first._check_quota(KEY, "api", "v1")
    state = json.loads(json.dumps(first.get_state()))
    assert state["rest_apis"] == {}
    second = a_gateway()
    usage = bridged(second)
    second.load_persisted_state(state)
    assert asked(usage) == {"k1": [[1, 2]]}
    second.load_persisted_state({})  # of a release that did not count
    assert asked(usage) == {}


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("2026-11-01", ""),
        ("", "2026-11-01"),
        ("1 November", "2026-11-01"),
        ("2026-11-02", "2026-11-01"),
        ("2026-01-01", "2026-04-01"),
    ],
)
def test_days_that_cannot_be_are_refused(first: str, last: str) -> None:
    query = {name: at for name, at in (("startDate", first), ("endDate", last)) if at}
    assert bridged(a_gateway()).answer("p1", query)[0] == 400


def test_ninety_days_are_told_of() -> None:
    status, _, _ = bridged(a_gateway()).answer(
        "p1", {"startDate": "2026-01-01", "endDate": "2026-03-31"}
    )
    assert status == 200


def test_an_unknown_plan_is_not_found() -> None:
    assert bridged(a_gateway()).answer("p9", {})[0] == 404
