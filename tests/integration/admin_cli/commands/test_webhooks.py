"""`webhooks` and mail: a secret is printed once, a log tells how deliveries stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chalicelib.tenants.deliveries import DynamoDeliveryStore
from tests.fakes.deliveries import a_delivery
from tests.fakes.values import NOON

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

    from tests.integration.admin_cli.commands.conftest import Radgate

# moto leaves out what it does not know, such as the bucket's policy; none of it is used here.
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse")

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
