"""Webhooks by the command line's registry: secrets shown once, never told, gone with the client."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from admin_cli.console import CliError
from admin_cli.tenants.removal import ClientStore
from admin_cli.tenants.webhook_events import outcome_of
from admin_cli.tenants.webhook_registry import WebhookRegistry
from chalicelib.domain import Delivery, Health
from chalicelib.services.delivering import a_test
from chalicelib.tenants import records
from chalicelib.tenants.deliveries import DynamoDeliveryStore
from chalicelib.tenants.webhooks import DynamoHealthStore, DynamoSecretStore
from tests.fakes.deliveries import FakeDeliveryStore, FakeOutbox, a_delivery
from tests.fakes.values import NOON, a_client

if TYPE_CHECKING:
    from chalicelib.domain import Client, SigningSecrets
    from tests.integration.admin_cli.conftest import World

URL, OTHER = "https://ris.acme.example/hooks?word=entry", "https://pacs.acme.example/events"
DAY = timedelta(hours=24)


def webhooks(world: World, *, loopback: bool = False) -> WebhookRegistry:
    return WebhookRegistry(world.table, world.trail, world.clock, loopback=loopback)


def create(world: World, client_id: str = "acme") -> None:
    world.registry().create_client(client_id, "Acme", "it@acme.example", "clinic")


def secrets(world: World, client_id: str = "acme") -> SigningSecrets:
    found = DynamoSecretStore(world.table).secrets(client_id)
    assert found is not None
    return found


def client(world: World) -> Client:
    found = world.accounts.client("acme")
    assert found is not None
    return found


# --- switched off, resumed --------------------------------------------------------------


def switched_off(world: World, url: str = URL) -> Health:
    health = Health(url=url, failing_since=NOON, off_since=NOON + DAY, off_because="It is gone.")
    assert DynamoHealthStore(world.table).advance("acme", Health(), health)
    return health


def test_one_that_was_switched_off_shows_and_is_resumed_once(world: World) -> None:
    create(world)
    create(world, "without")
    webhooks(world).set("acme", URL)
    health = switched_off(world)
    [listed] = webhooks(world).webhooks(world.accounts.clients())
    assert listed == webhooks(world).webhook("acme")
    told = (listed.client, listed.failing_since, listed.off_since, listed.off_because)
    assert told == ("acme", NOON, health.off_since, "It is gone.")
    assert webhooks(world).resume("acme")
    assert not webhooks(world).resume("acme")
    assert webhooks(world).webhook("acme").off_since is None
    last = world.audited()[-1]
    assert (last.action, last.client_id) == ("webhook.resume", "acme")


def test_how_a_former_url_fared_is_not_told_of_the_next(world: World) -> None:
    create(world)
    webhooks(world).set("acme", URL)
    switched_off(world)
    webhooks(world).set("acme", OTHER)
    assert webhooks(world).webhook("acme").off_since is None
    assert not webhooks(world).resume("acme")


def test_removing_forgets_that_it_was_off(world: World) -> None:
    create(world)
    webhooks(world).set("acme", URL)
    switched_off(world)
    webhooks(world).remove("acme")
    webhooks(world).set("acme", URL)
    assert webhooks(world).webhook("acme").off_since is None


def test_nobody_s_webhook_is_resumed(world: World) -> None:
    create(world)
    with pytest.raises(CliError, match="no webhook"):
        webhooks(world).resume("acme")


# --- set, show --------------------------------------------------------------------------


def test_a_webhook_gets_a_secret_that_is_shown_once(world: World) -> None:
    create(world)
    made = webhooks(world).set("acme", URL)
    assert made.secret is not None
    assert made.secret.startswith("whsec_")
    assert secrets(world).current == made.secret
    assert client(world).webhook == URL
    shown = webhooks(world).webhook("acme")
    assert (shown.client, shown.url, shown.rotating_until) == ("acme", URL, None)
    assert made.secret not in repr(made) + repr(shown)


def test_the_same_url_again_changes_nothing(world: World) -> None:
    create(world)
    first = webhooks(world).set("acme", URL)
    entries = len(world.audited())
    assert webhooks(world).set("acme", URL).secret is None
    assert secrets(world).current == first.secret
    assert len(world.audited()) == entries


def test_another_url_keeps_the_secret(world: World) -> None:
    create(world)
    first = webhooks(world).set("acme", URL)
    second = webhooks(world).set("acme", OTHER)
    assert (second.secret, second.webhook.url) == (None, OTHER)
    assert secrets(world).current == first.secret
    assert client(world).webhook == OTHER


@pytest.mark.parametrize(
    "url",
    [
        "http://ris.acme.example/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/",
        "https://user:word@ris.acme.example/",
        "https://localhost/",
        "http://127.0.0.1:8080/",
        "ris.acme.example",
    ],
)
def test_a_url_that_leads_inside_is_refused(world: World, url: str) -> None:
    create(world)
    with pytest.raises(CliError):
        webhooks(world).set("acme", url)
    assert client(world).webhook is None
    assert DynamoSecretStore(world.table).secrets("acme") is None


def test_only_the_local_stage_takes_this_machine(world: World) -> None:
    create(world)
    made = webhooks(world, loopback=True).set("acme", "http://127.0.0.1:8080/hook")
    assert made.webhook.url == "http://127.0.0.1:8080/hook"


def test_nobody_has_no_webhook(world: World) -> None:
    for use in (
        lambda: webhooks(world).set("nobody", URL),
        lambda: webhooks(world).webhook("nobody"),
        lambda: webhooks(world).rotate("nobody", DAY),
        lambda: webhooks(world).remove("nobody"),
    ):
        with pytest.raises(CliError, match="there is no client nobody"):
            use()


def test_without_a_webhook_there_is_nothing_to_show_or_rotate(world: World) -> None:
    create(world)
    with pytest.raises(CliError, match="has no webhook"):
        webhooks(world).webhook("acme")
    with pytest.raises(CliError, match="has no webhook"):
        webhooks(world).rotate("acme", DAY)
    assert not webhooks(world).remove("acme")


def test_a_client_that_leaves_gets_no_webhook(world: World) -> None:
    create(world)
    world.accounts.begin_deletion("acme", NOON)
    with pytest.raises(CliError, match="being deleted"):
        webhooks(world).set("acme", URL)


# --- rotate, remove ---------------------------------------------------------------------


def test_during_a_rotation_both_secrets_sign(world: World) -> None:
    create(world)
    old = webhooks(world).set("acme", URL).secret
    made = webhooks(world).rotate("acme", DAY)
    assert made.secret != old
    assert secrets(world).in_force(world.clock()) == (made.secret, old)
    assert webhooks(world).webhook("acme").rotating_until == world.clock() + DAY
    world.clock.advance(DAY.total_seconds())
    assert secrets(world).in_force(world.clock()) == (made.secret,)
    assert webhooks(world).webhook("acme").rotating_until is None


def test_a_second_rotation_ends_the_oldest_secret_at_once(world: World) -> None:
    create(world)
    webhooks(world).set("acme", URL)
    second = webhooks(world).rotate("acme", DAY).secret
    third = webhooks(world).rotate("acme", DAY).secret
    assert secrets(world).in_force(world.clock()) == (third, second)


def test_removing_forgets_the_secrets(world: World) -> None:
    create(world)
    first = webhooks(world).set("acme", URL).secret
    assert webhooks(world).remove("acme")
    assert client(world).webhook is None
    assert DynamoSecretStore(world.table).secrets("acme") is None
    assert not webhooks(world).remove("acme")
    again = webhooks(world).set("acme", URL).secret
    assert again not in {first, None}


def test_a_removed_webhook_leaves_the_rest_of_the_client(world: World) -> None:
    create(world)
    before = client(world)
    webhooks(world).set("acme", URL)
    webhooks(world).remove("acme")
    assert client(world) == before


def test_the_trail_tells_each_change_and_no_secret(world: World) -> None:
    create(world)
    made = [webhooks(world).set("acme", URL).secret, webhooks(world).rotate("acme", DAY).secret]
    webhooks(world).set("acme", OTHER)
    webhooks(world).remove("acme")
    entries = [entry for entry in world.audited() if entry.action.startswith("webhook.")]
    assert [entry.action for entry in entries] == [
        "webhook.set",
        "webhook.rotate",
        "webhook.set",
        "webhook.remove",
    ]
    assert {(entry.subject, entry.client_id) for entry in entries} == {("acme", "acme")}
    trail = json.dumps([entry.model_dump(mode="json") for entry in world.audited()])
    assert "https://ris.acme.example/" in trail
    for word in (*made, "whsec", "word=entry", "/hooks", "/events"):
        assert str(word) not in trail


def test_a_deleted_client_s_trail_hides_the_path_too(world: World) -> None:
    create(world)
    webhooks(world).set("acme", URL)
    world.accounts.bury(client(world), NOON, {})
    trail = json.dumps([entry.model_dump(mode="json") for entry in world.audited()])
    assert "word=entry" not in trail


def test_secrets_and_deliveries_go_with_their_client(world: World) -> None:
    create(world)
    create(world, "acme-2")
    for owner in ("acme", "acme-2"):
        webhooks(world).set(owner, URL)
        DynamoDeliveryStore(world.table).add(a_delivery(client_id=owner))
    store = ClientStore(world.table, None, "none")  # type: ignore[arg-type] # no object is touched
    assert store.erase_items("acme") == 0  # none of them is a study
    assert DynamoSecretStore(world.table).secrets("acme") is None
    assert DynamoDeliveryStore(world.table).log("acme", 9) == ()
    assert secrets(world, "acme-2").current.startswith("whsec_")
    assert len(DynamoDeliveryStore(world.table).log("acme-2", 9)) == 1
    assert world.table.get_item(Key=records.client_key("acme"))["Item"]["webhook"] == URL


# --- mail -------------------------------------------------------------------------------


def test_mail_is_off_until_it_is_switched_on(world: World) -> None:
    create(world)
    assert not client(world).mail
    world.registry().update_client("acme", mail=True)
    assert client(world).mail
    world.registry().update_client("acme", name="Acme Radiology")
    assert client(world).mail
    world.registry().update_client("acme", mail=False)
    assert not client(world).mail


def test_a_client_can_begin_with_mail(world: World) -> None:
    world.registry().create_client("acme", "Acme", "it@acme.example", "clinic", mail=True)
    assert client(world).mail


def test_creating_again_with_mail_switches_it_on(world: World) -> None:
    create(world)
    world.registry().create_client("acme", "Acme", "it@acme.example", "clinic", mail=True)
    assert client(world).mail
    create(world)  # says nothing of mail, so leaves it alone
    assert client(world).mail


def test_mail_needs_one_plain_address(world: World) -> None:
    registry = world.registry()
    # As a release did that asked for no more than three characters.
    world.accounts.add_client(a_client(email="a@b.example, c@d.example"))
    assert registry.update_client("acme", name="Acme Two").name == "Acme Two"
    with pytest.raises(CliError, match="one plain address"):
        registry.update_client("acme", mail=True)
    with pytest.raises(CliError, match="one plain address"):
        registry.create_client("other", "Other", "Ops <a@b.example>", "clinic", mail=True)
    assert world.accounts.client("other") is None
    registry.update_client("acme", email="a@b.example", mail=True)
    with pytest.raises(CliError, match="one plain address"):
        registry.update_client("acme", email="nobody")
    assert client(world).email == "a@b.example"


def test_the_trail_tells_that_mail_was_switched(world: World) -> None:
    create(world)
    world.registry().update_client("acme", mail=True)
    entry = next(one for one in world.audited() if one.action == "client.update")
    assert (entry.before, entry.after) == ({"mail": False}, {"mail": True})


# --- the test event ---------------------------------------------------------------------


def test_a_test_waits_for_its_outcome(world: World) -> None:
    store, outbox = FakeDeliveryStore(), FakeOutbox(world.clock)
    delivery = a_test("acme", "webhook", NOON)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:  # the function has made its try
            store.advance(delivery, delivery.model_copy(update=ended))

    ended = {"status": "failed", "attempt": 1, "next_at": None, "last_error": "It answered 500."}
    assert outcome_of(delivery, store, outbox, wait) == Delivery.model_validate(
        delivery.model_dump() | ended
    )
    assert outbox.sent == [delivery]
    assert len(waits) == 3


def test_a_test_that_nobody_fetches_is_told_of(world: World) -> None:
    store, outbox, waited = FakeDeliveryStore(), FakeOutbox(world.clock), 0.0

    def wait(seconds: float) -> None:
        nonlocal waited
        waited += seconds

    with pytest.raises(CliError, match="was not sent within 120 seconds"):
        outcome_of(a_test("acme", "webhook", NOON), store, outbox, wait)
    assert waited == 120
