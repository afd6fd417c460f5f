"""`clients`, `audit` and `plans`: arguments in; stdout, stderr and exit status out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from admin_cli.pacing import Pace
from tests.fakes.clock import FixedClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

    from tests.integration.admin_cli.commands.conftest import Radgate

# moto leaves out what it does not know, such as the bucket's policy; none of it is used here.
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse")


def test_clients_create_show_and_list(radgate: Radgate) -> None:
    made = radgate.create("north")
    assert (made["id"], made["status"], made["plan"]["name"]) == ("north", "active", "clinic")
    assert made["usage_plan_id"]
    assert radgate.json("clients", "show", "north") == made | {"keys": []}
    assert made in radgate.json("clients", "list")


def test_clients_have_a_retention_that_is_audited(radgate: Radgate) -> None:
    assert radgate.create("keeper")["retention_days"] == 30
    updated = radgate.json("clients", "update", "keeper", "--retention", "2w")
    assert updated["retention_days"] == 14
    assert "retention    14 days" in radgate("clients", "show", "keeper").stdout
    [entry] = [
        entry
        for entry in radgate.json("audit", "log", "--client", "keeper")
        if entry["action"] == "client.update"
    ]
    assert (entry["before"], entry["after"]) == ({"retention_days": 30}, {"retention_days": 14})
    options = ("--name", "K", "--email", "k@k.example", "--plan", "clinic", "--retention", "7d")
    assert radgate.json("clients", "create", "brief", *options)["retention_days"] == 7
    for wrong in ("36h", "0d", "366d", "90m"):
        assert radgate("clients", "update", "keeper", "--retention", wrong).status == 2


def test_clients_suspend_and_resume(radgate: Radgate) -> None:
    radgate.create("south")
    for _ in range(2):
        assert radgate.json("clients", "suspend", "south")["status"] == "suspended"
    assert "south is active" in radgate("clients", "resume", "south").stdout
    assert radgate.json("clients", "show", "south")["status"] == "active"


def test_plans_list_and_show(radgate: Radgate) -> None:
    plans = radgate.json("plans", "list")
    assert len(plans) >= 3
    for plan in plans:
        assert radgate.json("plans", "show", plan["name"]) == plan
        shown = radgate("plans", "show", plan["name"]).stdout
        assert f"{plan['studies']['limit']:,} per {plan['studies']['period']}" in shown


def test_the_audit_trail_is_listed_and_verified(radgate: Radgate, stage: Table) -> None:
    radgate.create("audited")
    radgate("clients", "suspend", "audited")
    entries = radgate.json("audit", "log", "--client", "audited")
    actions = [entry["action"] for entry in entries]
    assert actions == ["client.suspend", "client.usage_plan", "client.create"]
    assert all(entry["actor"].startswith("arn:aws:") for entry in entries)
    shown = radgate("audit", "log", "--client", "audited", "--limit", "1").stdout
    assert "status:" in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80
    anchor = radgate("audit", "verify").stdout.strip()
    assert radgate.json("audit", "verify", "--anchor", anchor)["anchor"] == anchor
    assert radgate("audit", "verify", "--anchor", "17").status == 2
    number = int(anchor.partition(":")[0])
    key = {"pk": "AUDIT", "sk": f"ENTRY#{number:012d}"}
    kept = stage.get_item(Key=key)["Item"]
    stage.put_item(Item=kept | {"document": str(kept["document"]).replace("suspended", "active")})
    for form in ("table", "json"):
        ended = radgate("--output", form, "audit", "verify")
        assert (ended.status, ended.stdout) == (1, "")
        assert f"entry {number} was changed" in ended.stderr
    stage.put_item(Item=kept)
    assert radgate("audit", "verify").status == 0


def test_clients_update(radgate: Radgate) -> None:
    radgate.create("moving")
    updated = radgate.json("clients", "update", "moving", "--name", "New", "--plan", "hospital")
    assert (updated["name"], updated["plan"]["name"]) == ("New", "hospital")
    assert updated["email"] == "it@moving.example"
    assert "is New, on plan hospital" in radgate("clients", "update", "moving").stdout


def test_clients_delete_counts_asks_and_deletes(radgate: Radgate) -> None:
    radgate.create("leaving")
    counts = {"keys": 0, "studies": 0, "objects": 0}
    would = radgate.json("clients", "delete", "leaving", "--dry-run")
    assert would == {"client": "leaving", "would_erase": counts}
    asked = radgate("clients", "delete", "leaving")
    assert (asked.status, asked.stdout) == (1, "")
    assert "give --yes" in asked.stderr
    assert radgate.json("clients", "show", "leaving")["status"] == "active"
    deleted = radgate.json("clients", "delete", "leaving", "--yes")
    assert deleted["id"] == "leaving"
    assert radgate.json("clients", "delete", "leaving") == deleted  # nothing is left to ask about
    # The trail of one that is gone is still shown; of one that never was there is none.
    assert radgate.json("audit", "log", "--client", "leaving")
    never = radgate("audit", "log", "--client", "never")
    assert (never.status, never.stderr) == (1, "radgate: there is no client never\n")
    assert radgate("clients", "show", "leaving").status == 1
    again = radgate(
        "clients",
        "create",
        "leaving",
        *("--name", "X", "--email", "x@x.example"),
        "--plan",
        "clinic",
    )
    assert "was deleted" in again.stderr


def test_plans_apply_shows_asks_and_applies(
    radgate: Radgate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    radgate.create("applied")
    changed = (Path(__file__).parents[4] / "plans.toml").read_text(encoding="utf-8")
    catalogue = tmp_path / "plans.toml"
    catalogue.write_text(changed.replace("limit = 2_000", "limit = 2_500"), encoding="utf-8")
    monkeypatch.setenv("RADGATE_PLANS", str(catalogue))
    clock = FixedClock()
    monkeypatch.setattr("admin_cli.gateway.Pace", lambda: Pace(clock.monotonic, clock.advance))
    shown = radgate.json("plans", "apply", "--dry-run")["differences"]
    assert ["studies: 2000 month → 2500 month"] in [one["changes"] for one in shown]
    told = radgate("plans", "apply", "--dry-run").stdout
    assert "2000 month → 2500 month" in " ".join(told.split())
    assert max(len(line.rstrip()) for line in told.splitlines()) <= 80
    assert radgate("plans", "apply").status == 1  # nobody is there to answer
    assert radgate.json("clients", "show", "applied")["plan"]["studies"]["limit"] == 2000
    assert radgate("plans", "apply", "--yes").status == 0
    assert radgate.json("clients", "show", "applied")["plan"]["studies"]["limit"] == 2500
    assert radgate.json("plans", "apply", "--dry-run")["differences"] == []
