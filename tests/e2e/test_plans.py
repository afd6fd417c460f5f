"""Plans as code, money, leaked keys and the ends of keys, on the deployed stack."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from admin_cli.emulator import LOCAL_CREDENTIALS, REGION
from tests.e2e.conftest import PLANS, Radgate, Stack
from tests.e2e.test_http import admit, chest, refused
from tests.e2e.test_keys import ask, create, until

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_apigateway import APIGatewayClient

__all__ = ["chest"]

TERMS = """
[metered]
title = "Paid for each"
studies = {{ limit = {studies}, period = "month" }}
requests = {{ limit = {requests}, period = "week" }}
throttle = {{ rate_per_second = {rate}, burst = {burst} }}
price = {{ currency = "EUR", monthly = "10.05", included = 1, overage = "0.335" }}
"""
SOLD = TERMS.format(studies=40, requests=900, rate=20, burst=40)
REVIEWED = TERMS.format(studies=50, requests=1000, rate=25, burst=50)


@dataclass(frozen=True)
class Selling(Radgate):
    """The command line with a catalogue of its own."""

    catalogue: Path = PLANS

    def environment(self) -> dict[str, str]:
        return super().environment() | {"RADGATE_PLANS": str(self.catalogue)}


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """The stack's catalogue with one plan more."""
    path = tmp_path / "plans.toml"
    write(path, SOLD)
    return path


@pytest.fixture
def selling(stack: Stack, catalogue: Path) -> Stack:
    known = stack.radgate
    radgate = Selling(known.home, known.smtp_host, known.enforcing, catalogue)
    return replace(stack, radgate=radgate)


def write(catalogue: Path, terms: str) -> None:
    catalogue.write_text(PLANS.read_text(encoding="utf-8") + terms, encoding="utf-8")


def local(stack: Stack, service: str) -> dict[str, Any]:
    return {
        "service_name": service,
        "endpoint_url": stack.aws_url,
        "region_name": REGION,
        "aws_access_key_id": LOCAL_CREDENTIALS["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": LOCAL_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    }


def test_reviewed_terms_are_shown_then_applied_and_hold_at_the_gateway(
    selling: Stack, catalogue: Path
) -> None:
    create(selling, "buyer", plan="metered")
    plan_id = selling.radgate.json("clients", "show", "buyer")["usage_plan_id"]
    gateway: APIGatewayClient = boto3.client(**local(selling, "apigateway"))

    def gate() -> tuple[Any, ...]:
        plan: Any = gateway.get_usage_plan(usagePlanId=plan_id)
        throttle, quota = plan["throttle"], plan["quota"]
        return throttle["rateLimit"], throttle["burstLimit"], quota["limit"], quota["period"]

    assert gate() == (20, 40, 900, "WEEK")
    write(catalogue, REVIEWED)
    dry = selling.radgate.json("plans", "apply", "--dry-run")
    [found] = [one for one in dry["differences"] if one["client_id"] == "buyer"]
    assert "studies: 40 month → 50 month" in found["changes"]
    assert "API Gateway /throttle/rateLimit → 25" in found["changes"]
    assert gate() == (20, 40, 900, "WEEK")  # nothing was changed
    asked = selling.radgate.run("plans", "apply")
    assert (asked.returncode, "give --yes" in asked.stderr) == (1, True)
    assert gate() == (20, 40, 900, "WEEK")
    assert selling.radgate.json("plans", "apply", "--yes")["applied"] is True
    assert gate() == (25, 50, 1000, "WEEK")
    assert selling.radgate.json("plans", "apply", "--dry-run")["differences"] == []
    key = selling.radgate.json("keys", "issue", "buyer")
    usage = ask(selling, key["secret"]).json()["usage"]
    assert (usage["limit"], usage["used"]) == (50, 0)
    trail = selling.radgate.json("audit", "log", "--client", "buyer")
    [told] = [entry for entry in trail if entry["action"] == "client.plan"]
    limits = [told[when]["plan"]["studies"]["limit"] for when in ("before", "after")]
    assert limits == [40, 50]


def test_the_month_s_studies_become_an_invoice_that_adds_up(selling: Stack, chest: bytes) -> None:
    api = admit(selling, "payer", plan="metered")
    begun = datetime.now(UTC)
    statuses = [api.post(chest).status_code for _ in range(3)]
    assert set(statuses) <= {200, 202}
    if datetime.now(UTC).month != begun.month:
        pytest.skip("the month ended between the studies")
    month = f"{begun:%Y-%m}"
    bill = selling.radgate.json("usage", "invoice", "--month", month, "--client", "payer")
    [one] = bill["invoices"]
    # Two beyond the one that the plan includes, at 0.335: half a cent is rounded up, once.
    assert (one["studies"], one["overage_studies"], one["overage_amount"]) == (3, 2, "0.67")
    assert Decimal(one["total"]) == Decimal(one["base"]) + Decimal(one["overage_amount"])
    assert one["total"] == bill["totals"]["EUR"] == "10.72"
    csv = selling.radgate.run("usage", "invoice", "--month", month, "--format", "csv")
    assert any(line.endswith("10.72") for line in csv.stdout.splitlines())
    days = selling.radgate.json("usage", "report", "--client", "payer")
    assert sum(day["studies"] for day in days) == 3
    # In a month before, the client was not there.
    before = f"{begun.replace(day=1) - timedelta(days=1):%Y-%m}"
    none = selling.radgate.json("usage", "invoice", "--month", before, "--client", "payer")
    assert none["invoices"] == []


def git(repository: Path, *words: str) -> None:
    identity = ("-c", "user.name=T", "-c", "user.email=t@example.org")
    clean = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(
        ["git", *identity, "-C", str(repository), *words],
        check=True,
        capture_output=True,
        env=os.environ | clean,
    )


def test_leaked_keys_are_found_in_a_file_and_in_git_and_are_refused_once_revoked(
    stack: Stack, tmp_path: Path
) -> None:
    create(stack, "leaking")
    shown, removed = (stack.radgate.json("keys", "issue", "leaking") for _ in range(2))
    assert [ask(stack, key["secret"]).status_code for key in (shown, removed)] == [200, 200]
    git(tmp_path, "init", "-q")
    for content in (f"KEY={removed['secret']}\n", "KEY=\n"):
        (tmp_path / "settings.ini").write_text(content)
        git(tmp_path, "add", "settings.ini")
        git(tmp_path, "commit", "-q", "-m", "Settings")
    (tmp_path / "notes.txt").write_text(f"\nthe key: {shown['secret']}\n")
    found = stack.radgate.run("--output", "json", "keys", "scan", str(tmp_path))
    assert found.returncode == 1
    hits = {one["key"]: one for one in json.loads(found.stdout)["found"]}
    assert {one["state"] for one in hits.values()} == {"active"}
    assert hits[shown["id"]]["places"] == [f"{tmp_path}/notes.txt:2"]
    assert "settings.ini since" in hits[removed["id"]]["places"][0]
    # Looking changes nothing, and nobody is there to answer the question.
    assert stack.radgate.run("keys", "scan", str(tmp_path), "--revoke").returncode == 1
    assert ask(stack, shown["secret"]).status_code == 200
    done = stack.radgate.run("keys", "scan", str(tmp_path), "--revoke", "--yes")
    assert done.returncode == 0, done.stderr
    for key in (shown, removed):
        until(partial(is_refused, stack, key["secret"]), seconds=30)
        assert key["secret"] not in found.stdout + found.stderr + done.stdout + done.stderr
    assert stack.radgate.run("keys", "scan", str(tmp_path)).returncode == 0


def is_refused(stack: Stack, secret: str) -> bool:
    return ask(stack, secret).status_code == 403


def test_a_key_is_refused_once_its_life_or_its_overlap_is_over(stack: Stack) -> None:
    """Both at once, so that the time is waited for once."""
    create(stack, "brief")
    new = stack.radgate.json("keys", "issue", "brief")
    old, new = new, stack.radgate.json("keys", "rotate", new["id"], "--overlap", "14s")
    brief = stack.radgate.json("keys", "issue", "brief", "--expires-in", "10s")
    ends = [datetime.fromisoformat(key["expires_at"]) for key in (new["old"], brief)]
    for key in (old, new, brief):
        assert ask(stack, key["secret"]).status_code == 200
    assert datetime.now(UTC) < min(ends), "the machine is too slow for this test"
    time.sleep((max(ends) - datetime.now(UTC)).total_seconds())
    for key in (old, brief):
        refused(ask(stack, key["secret"]), 403, "key_expired")
    assert ask(stack, new["secret"]).status_code == 200
    assert states(stack) == {old["id"]: "expired", new["id"]: "active", brief["id"]: "expired"}
    rotated = stack.radgate.run("keys", "rotate", brief["id"])
    assert (rotated.returncode, "has expired" in rotated.stderr) == (1, True)
    # The next key has them filed with those that ended; they are known as what they are.
    later = stack.radgate.json("keys", "issue", "brief")
    assert [*states(stack).values()] == ["expired", "active", "expired", "active"]
    refused(ask(stack, old["secret"]), 403, "key_expired")
    shown = ask(stack, later["secret"]).json()["keys"]
    assert [key["current"] for key in shown] == [False, False, False, True]


def states(stack: Stack) -> dict[str, str]:
    return {key["id"]: key["state"] for key in stack.radgate.json("keys", "list", "brief")}


def test_a_client_s_own_list_stays_short_and_a_revoked_key_is_told_as_such(stack: Stack) -> None:
    create(stack, "hoarding")
    issued = [stack.radgate.json("keys", "issue", "hoarding") for _ in range(2)]
    stack.radgate.json("keys", "revoke", issued[0]["id"])
    keys = ask(stack, issued[1]["secret"]).json()["keys"]
    assert [(key["id"], key["revoked_at"] is None) for key in keys] == [
        (issued[0]["id"], False),
        (issued[1]["id"], True),
    ]
    assert len(stack.radgate.json("keys", "list", "hoarding", "--all")) == 2
