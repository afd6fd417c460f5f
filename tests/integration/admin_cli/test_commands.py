"""The command line as its users meet it: arguments in; stdout, stderr and exit status out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

from admin_cli.__main__ import run
from admin_cli.deploying.deployment_record import Deployment, write_deployment
from admin_cli.foundation import apply_foundation
from admin_cli.pacing import Pace
from chalicelib import aws
from chalicelib.tenants import keys
from chalicelib.tenants.deliveries import DynamoDeliveryStore
from chalicelib.tenants.directory import DynamoDirectory
from tests.fakes.clock import FixedClock
from tests.fakes.deliveries import a_delivery
from tests.fakes.values import NOON
from tests.integration.admin_cli.conftest import make_api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb.service_resource import Table

# moto leaves out what it does not know, such as the bucket's policy; none of it is used here.
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse")


@pytest.fixture(scope="module")
def stage() -> Iterator[Table]:
    """The foundation of stage `dev`, with an API deployed on it."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        patch.setenv("COLUMNS", "80")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        aws.table.cache_clear()
        table_name = apply_foundation("dev").TableName
        _, api = make_api()
        write_deployment(table_name, Deployment(api, "v1", "https://api.example", "", "", "", ""))
        apply_foundation("prod")
        yield aws.table(table_name)
        aws.table.cache_clear()


@dataclass
class Ended:
    status: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        assert self.status == 0, self.stderr
        return json.loads(self.stdout)


@dataclass
class Radgate:
    """Runs command lines on stage `dev` in this process."""

    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str, stage: str = "dev") -> Ended:
        self.capsys.readouterr()
        status = run(["--stage", stage, *words])
        return Ended(status, *self.capsys.readouterr())

    def json(self, *words: str) -> Any:
        return self("--output", "json", *words).json()

    def create(self, client_id: str, name: str = "Acme Radiology") -> Any:
        mail = f"it@{client_id}.example"
        options = ("--name", name, "--email", mail, "--plan", "clinic")
        return self.json("clients", "create", client_id, *options)


@pytest.fixture
def radgate(stage: Table, capsys: pytest.CaptureFixture[str]) -> Radgate:
    assert stage.name == "radgate-dev"
    return Radgate(capsys)


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


def test_tables_fit_80_columns_and_keep_every_id_whole(radgate: Radgate) -> None:
    long = "z" * 63
    radgate.create(long, name="The Royal College of Very Long Names of Hospitals and Sons, Ltd.")
    radgate.create("short")
    radgate.json("keys", "issue", "short")
    key = radgate.json("keys", "issue", long, "--label", "the label of this key is long " * 3)
    for words in (
        *(("clients", "list"), ("clients", "show", "short"), ("keys", "list", long)),
        *(("plans", "list"), ("plans", "show", "network")),
        *(("audit", "log"), ("usage", "report"), ("webhooks", "list")),
    ):
        ended = radgate(*words)
        assert ended.status == 0
        assert max(len(line.rstrip()) for line in ended.stdout.splitlines()) <= 80
    assert key["id"] in radgate("keys", "list", long).stdout
    assert key["id"] in radgate("clients", "show", long).stdout


def test_a_name_is_shown_as_it_was_given(radgate: Radgate) -> None:
    radgate.create("markup", name="[bold]Ümlaut & Söhne[/bold]")
    assert "[bold]Ümlaut & Söhne[/bold]" in radgate("clients", "show", "markup").stdout
    assert "[bold]Ümlaut" in radgate("clients", "list").stdout


@pytest.mark.parametrize(
    "words",
    [
        ("clients", "show", "ghost"),
        ("clients", "suspend", "ghost"),
        ("clients", "create", "x", "--name", "X", "--email", "x@x.example", "--plan", "clinic"),
        ("clients", "create", "ok", "--name", "X", "--email", "x@x.example", "--plan", "gold"),
        ("keys", "issue", "ghost"),
        ("keys", "list", "ghost"),
        ("keys", "revoke", "key_01JD8Z5M3Q4R6S7T8V9W0XYZAB"),
        ("keys", "revoke", "nonsense"),
        ("plans", "show", "gold"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("form", ["table", "json"])
def test_a_refusal_is_one_line_on_stderr_and_status_1(
    radgate: Radgate, words: tuple[str, ...], form: str
) -> None:
    ended = radgate("--output", form, *words)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr.startswith("radgate: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("clients", "nonsense"),
        ("clients", "create", "acme"),
        ("clients", "show"),
        ("keys", "issue", "acme", "--expires-in", "soon"),
        ("keys", "issue", "acme", "--expires-in", "9999w"),
        ("keys", "issue", "acme", "--scope", "everything"),
        ("clients", "list", "--output", "json"),
        ("--output", "xml", "clients", "list"),
        ("--stage", "Not_A_Stage", "clients", "list"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_on_stderr_and_status_2(
    radgate: Radgate, words: tuple[str, ...]
) -> None:
    ended = radgate(*words)
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith("radgate: ")
    assert ended.stderr.count("\n") == 1


def test_a_stage_that_is_not_there_or_has_no_api_says_to_deploy(radgate: Radgate) -> None:
    for stage in ("ghost", "prod"):
        ended = radgate("clients", "list", stage=stage)
        assert ended.status == 1
        assert "deploy" in ended.stderr


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


def test_plans_apply_shows_asks_and_applies(
    radgate: Radgate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    radgate.create("applied")
    changed = (Path(__file__).parents[3] / "plans.toml").read_text(encoding="utf-8")
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


HOOK = "https://ris.example.org/hooks"


def test_a_webhook_s_secret_stands_alone_on_stdout_and_once(radgate: Radgate) -> None:
    radgate.create("hooked")
    first = radgate("webhooks", "set", "hooked", HOOK)
    assert first.stdout.startswith("whsec_")
    assert first.stdout.count("\n") == 1
    assert "will not be shown again" in first.stderr
    again = radgate("webhooks", "set", "hooked", HOOK + "/new")
    assert (again.status, again.stdout) == (0, "")
    shown = radgate("webhooks", "show", "hooked")
    assert f"{HOOK}/new" in shown.stdout
    assert "with one secret" in shown.stdout
    assert HOOK in radgate("clients", "show", "hooked").stdout
    for ended in (again, shown, radgate("audit", "log", "--client", "hooked")):
        assert first.stdout.strip() not in ended.stdout + ended.stderr


def test_a_rotated_secret_is_another(radgate: Radgate) -> None:
    radgate.create("turned")
    first = radgate.json("webhooks", "set", "turned", HOOK)["secret"]
    turned = radgate("webhooks", "rotate", "turned", "--overlap", "1h")
    assert turned.stdout.strip() not in {first, ""}
    assert "The old secret signs as well until" in turned.stderr
    assert "with two secrets until" in radgate("webhooks", "show", "turned").stdout
    assert radgate("webhooks", "rotate", "turned", "--overlap", "never").status == 2
    refused = radgate("webhooks", "remove", "turned")
    assert (refused.status, "give --yes" in refused.stderr) == (1, True)
    assert "with two secrets until" in radgate("webhooks", "show", "turned").stdout
    removed = radgate("webhooks", "remove", "turned", "--yes")
    assert removed.stdout == "Client turned has no webhook.\n"
    assert radgate("webhooks", "show", "turned").stderr.endswith("see `webhooks set`\n")


def test_a_webhook_that_leads_inside_is_refused_in_one_line(radgate: Radgate) -> None:
    radgate.create("inside")
    for url in ("https://169.254.169.254/", "http://127.0.0.1:8080/", "https://user:pw@a.example/"):
        refused = radgate("webhooks", "set", "inside", url)
        assert (refused.status, refused.stdout) == (1, "")
        assert refused.stderr.count("\n") == 1
        assert "pw" not in refused.stderr


def test_the_log_of_deliveries_tells_how_each_stands(radgate: Radgate, stage: Table) -> None:
    radgate.create("logged")
    assert radgate.json("webhooks", "log", "logged") == []
    reason = {"client_id": "logged", "last_error": "The server answered 503."}
    states = {
        "delivered at try 1": a_delivery(
            client_id="logged", status="delivered", attempt=1, next_at=None
        ),
        "given up after try 16: The server answered 503.": a_delivery(
            status="failed", attempt=16, next_at=None, **reason
        ),
        f"after try 2, next {NOON:%Y-%m-%d %H:%M} UTC: The server answered 503.": a_delivery(
            attempt=2, **reason
        ),
        "waits for its first try": a_delivery(client_id="logged", channel="mail"),
    }
    for delivery in states.values():
        DynamoDeliveryStore(stage).add(delivery)
    told = radgate.json("webhooks", "log", "logged")
    assert {one["id"] for one in told} == {one.id for one in states.values()}
    lines = radgate("webhooks", "log", "logged").stdout.splitlines()
    for state, delivery in states.items():
        assert f"    {delivery.id}  {state}" in lines
    limited = radgate("webhooks", "log", "logged", "--limit", "1").stdout
    assert limited.count("evt_") == 1


def test_mail_is_switched_by_a_word(radgate: Radgate) -> None:
    radgate.create("mailed")
    assert radgate.json("clients", "update", "mailed", "--mail", "on")["mail"] is True
    assert radgate.json("clients", "update", "mailed", "--name", "Mailed")["mail"] is True
    assert radgate.json("clients", "update", "mailed", "--mail", "off")["mail"] is False
    assert radgate("clients", "update", "mailed", "--mail", "yes").status == 2
