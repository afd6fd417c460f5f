"""`keys` and `usage`: a secret is printed once, a leak is found, a month is invoiced."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from chalicelib.tenants import keys
from chalicelib.tenants.directory import DynamoDirectory

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_dynamodb.service_resource import Table

    from tests.integration.admin_cli.commands.conftest import Radgate

# moto leaves out what it does not know, such as the bucket's policy; none of it is used here.
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse")


def test_keys_issue_list_and_revoke(radgate: Radgate, stage: Table) -> None:
    radgate.create("east")
    options = ("--label", "pacs", "--expires-in", "90d", "--scope", "studies:write", "--test")
    issued = radgate.json("keys", "issue", "east", *options, "--scope", "studies:read")
    secret = issued.pop("secret")
    assert keys.read(secret) == issued["mode"] == "test"
    assert issued["label"] == "pacs"
    assert issued["state"] == "active"
    assert issued["scopes"] == ["studies:read", "studies:write"]
    assert issued["expires_at"] > issued["created_at"]
    assert "sha256" not in issued
    caller = DynamoDirectory(stage).identify(keys.sha256(secret))
    assert caller is not None
    assert caller.key.id == issued["id"]
    assert radgate.json("keys", "list", "east") == [issued]
    [row] = [line for line in radgate("keys", "list", "east").stdout.splitlines() if "key_" in line]
    expiry = issued["expires_at"][:10]
    assert row.split() == [issued["id"], issued["hint"], "pacs", "active", expiry]
    revoked = radgate.json("keys", "revoke", issued["id"])
    assert revoked["state"] == "revoked"
    assert radgate.json("keys", "list", "east") == [revoked]


def test_a_secret_is_printed_once_alone_on_stdout(radgate: Radgate) -> None:
    radgate.create("west")
    issued = radgate("keys", "issue", "west")
    secret = issued.stdout.strip()
    assert keys.read(secret) == "live"
    assert "will not be shown again" in issued.stderr
    assert secret not in issued.stderr
    for words in (("keys", "list", "west"), ("clients", "show", "west")):
        for form in ("table", "json"):
            assert secret not in radgate("--output", form, *words).stdout


def test_a_key_of_a_suspended_client_is_issued_with_a_word_about_that(radgate: Radgate) -> None:
    radgate.create("paused")
    before = radgate.json("keys", "issue", "paused")
    radgate("clients", "suspend", "paused")
    for words in (("issue", "paused"), ("rotate", before["id"])):
        made = radgate("keys", *words)
        assert (made.status, keys.read(made.stdout.strip())) == (0, "live")
        assert "Client paused is suspended" in made.stderr
        assert "radgate --stage dev clients resume paused" in made.stderr
    radgate("clients", "resume", "paused")
    assert "suspended" not in radgate("keys", "issue", "paused").stderr


def test_one_key_of_a_client_is_one_key(radgate: Radgate) -> None:
    radgate.create("single")
    radgate("keys", "issue", "single")
    said = radgate("clients", "delete", "single", "--dry-run").stdout
    assert "1 key, 0 studies, 0 objects" in said


def test_keys_rotate(radgate: Radgate) -> None:
    radgate.create("turning")
    old = radgate.json("keys", "issue", "turning", "--label", "pacs")
    rotated = radgate("keys", "rotate", old["id"])
    secret = rotated.stdout.strip()
    assert keys.read(secret) == "live"
    assert secret not in rotated.stderr
    assert "for some seconds" in rotated.stderr
    listed = radgate.json("keys", "list", "turning")
    assert [key["state"] for key in listed] == ["replaced", "active"]
    assert listed[0]["replaced_by"] == listed[1]["id"]
    assert radgate("keys", "rotate", old["id"], "--overlap", "0h").status == 2


def test_usage_report_and_invoice(radgate: Radgate, stage: Table) -> None:
    radgate.create("using")
    month = {"2026-10-05": 1200, "2026-10-31": 3}
    stage.put_item(Item={"pk": "CLIENT#using", "sk": "USAGE#2026-10-01", "used": 1203, **month})
    span = ("--client", "using", "--from", "2026-10-01", "--to", "2026-10-31")
    assert radgate.json("usage", "report", *span) == [
        {"client": "using", "day": day, "studies": count} for day, count in month.items()
    ]
    csv = radgate("usage", "report", *span, "--format", "csv").stdout
    assert csv.splitlines() == ["client,day,studies", "using,2026-10-05,1200", "using,2026-10-31,3"]
    shown = radgate("usage", "report", *span).stdout
    assert "1,203" in shown
    assert "2026-10-05  1,200 " + "█" * 50 in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80
    assert radgate("usage", "report", "--from", "2026-11-02", "--to", "2026-11-01").status == 2
    assert radgate("--output", "json", "usage", "report", "--format", "csv").status == 2
    assert radgate("usage", "report", "--client", "ghost").status == 1

    # The client came after October; as one that was there, it pays for it.
    assert radgate.json("usage", "invoice", "--month", "2020-01")["invoices"] == []
    stage.update_item(
        Key={"pk": "CLIENT#using", "sk": "CLIENT"},
        UpdateExpression="SET created_at = :then",
        ExpressionAttributeValues={":then": "2026-09-01T00:00:00Z"},
    )
    bill = radgate.json("usage", "invoice", "--month", "2026-10", "--client", "using")
    [one] = bill["invoices"]
    assert (one["base"], one["overage_studies"], one["overage_amount"]) == ("290.00", 203, "71.05")
    assert one["total"] == bill["totals"]["EUR"] == "361.05"
    table = radgate("usage", "invoice", "--month", "2026-10", "--client", "using").stdout
    assert "Total 361.05 EUR" in table
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80


def test_keys_scan_says_whose_key_it_is_and_revokes_it(radgate: Radgate, tmp_path: Path) -> None:
    radgate.create("leaky")
    issued = radgate.json("keys", "issue", "leaky")
    secret, foreign = issued["secret"], keys.mint()
    (tmp_path / ".env").write_text(f"KEY={secret}\nOTHER={foreign}\n")
    shown = radgate("keys", "scan", str(tmp_path))
    assert shown.status == 1
    assert f"{issued['id']} of leaky: active" in shown.stdout
    assert f"{tmp_path}/.env:1" in shown.stdout
    offline = radgate("--output", "json", "keys", "scan", str(tmp_path), "--offline")
    assert {one["state"] for one in json.loads(offline.stdout)["found"]} == {"not asked"}
    assert radgate("keys", "scan", str(tmp_path), "--revoke").status == 1  # nobody to answer
    revoked = radgate("--output", "json", "keys", "scan", str(tmp_path), "--revoke", "--yes")
    states = {one.get("key"): one["state"] for one in json.loads(revoked.stdout)["found"]}
    assert states == {issued["id"]: "revoked", None: "unknown"}
    assert revoked.status == 1  # the one that is unknown here may work elsewhere
    (tmp_path / ".env").write_text(f"KEY={secret}\n")
    done = radgate("keys", "scan", str(tmp_path))
    assert (done.status, "leaky: revoked" in done.stdout) == (0, True)
    for ended in (shown, offline, revoked, done):
        assert secret not in ended.stdout + ended.stderr
        assert foreign not in ended.stdout + ended.stderr
    assert radgate("keys", "scan", str(tmp_path), "--offline", "--revoke").status == 2
