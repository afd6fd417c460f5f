"""One contract for the store of deliveries and its fake; what the table alone can show after it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from chalicelib.domain import Client, Delivery, Health, SigningSecrets, StudyStatus
from chalicelib.errors import StorageUnavailable
from chalicelib.tenants import records
from chalicelib.tenants.deliveries import DynamoDeliveryStore
from chalicelib.tenants.deployment import DEPLOYMENT_KEY, DeploymentReader
from chalicelib.tenants.webhooks import DynamoHealthStore, DynamoSecretStore, secrets_item
from tests.fakes.deliveries import (
    FakeDeliveryStore,
    FakeHealthStore,
    FakeSecretStore,
    a_delivery,
)
from tests.fakes.values import NOON, a_study

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.ports import DeliveryStore, HealthStore, SecretStore

LATER = NOON + timedelta(minutes=5)


@pytest.fixture(params=["fake", "dynamodb"])
def store(request: pytest.FixtureRequest) -> DeliveryStore:
    if request.param == "fake":
        return FakeDeliveryStore()
    return DynamoDeliveryStore(request.getfixturevalue("table"))


def tried(delivery: Delivery, **fields: object) -> Delivery:
    return delivery.model_copy(update={"attempt": delivery.attempt + 1, "next_at": LATER, **fields})


def kept(store: DeliveryStore, delivery: Delivery) -> Delivery | None:
    return store.get(delivery.client_id, delivery.id, delivery.channel)


@pytest.fixture(params=["fake", "dynamodb"])
def healths(request: pytest.FixtureRequest) -> HealthStore:
    if request.param == "fake":
        return FakeHealthStore()
    return DynamoHealthStore(request.getfixturevalue("table"))


def test_an_erased_study_is_known_as_such(table: Table) -> None:
    store = DynamoDeliveryStore(table)
    there, erased = a_study(), a_study(status=StudyStatus.DELETED)
    for study in (there, erased):
        table.put_item(Item=records.study_item("acme", study))
    assert store.erased("acme", erased.id)
    assert not store.erased("acme", there.id)
    assert not store.erased("other", erased.id)


def test_how_a_webhook_fares_moves_on_from_what_was_read(healths: HealthStore) -> None:
    unknown = Health()
    assert healths.health("acme") == unknown
    failing = Health(url="https://a.example/", failing_since=NOON)
    off = failing.model_copy(update={"off_since": LATER, "off_because": "gone"})
    assert healths.advance("acme", unknown, failing)
    assert not healths.advance("acme", unknown, off)
    assert healths.advance("acme", failing, off)
    assert healths.health("acme") == off
    assert not healths.advance("acme", failing, Health(url="https://a.example/"))
    elsewhere = Health(url="https://b.example/")
    assert healths.advance("acme", off, elsewhere)
    assert healths.health("acme") == elsewhere
    assert healths.health("other") == unknown


def test_a_delivery_is_read_as_it_was_stored(store: DeliveryStore) -> None:
    study, test = a_delivery(), a_delivery(kind="test", study_id=None, channel="mail")
    for delivery in (study, test):
        store.add(delivery)
        assert kept(store, delivery) == delivery


def test_channels_of_one_event_are_apart(store: DeliveryStore) -> None:
    webhook = a_delivery()
    store.add(webhook)
    assert store.get("acme", webhook.id, "mail") is None
    assert store.get("other", webhook.id, "webhook") is None


def test_adding_twice_changes_nothing(store: DeliveryStore) -> None:
    delivery = a_delivery()
    store.add(delivery)
    assert store.advance(delivery, tried(delivery))
    store.add(delivery)
    assert kept(store, delivery) == tried(delivery)


def test_of_two_that_advance_the_same_one_is_too_late(store: DeliveryStore) -> None:
    delivery = a_delivery()
    store.add(delivery)
    assert store.advance(delivery, tried(delivery, last_error="first"))
    assert not store.advance(delivery, tried(delivery, last_error="second"))
    found = kept(store, delivery)
    assert found is not None
    assert found.last_error == "first"


@pytest.mark.parametrize("stale", [{"attempt": 3}, {"next_at": LATER}, {"status": "failed"}])
def test_only_what_still_stands_is_replaced(store: DeliveryStore, stale: dict[str, object]) -> None:
    delivery = a_delivery()
    store.add(delivery)
    assert not store.advance(delivery.model_copy(update=stale), tried(delivery))
    assert kept(store, delivery) == delivery


def test_what_has_ended_can_be_told_from_what_has_not(store: DeliveryStore) -> None:
    delivery = a_delivery(attempt=1)
    ended = delivery.model_copy(update={"status": "delivered", "next_at": None})
    store.add(ended)
    assert not store.advance(delivery, tried(delivery))
    assert store.advance(ended, tried(delivery))


def test_what_is_gone_does_not_come_back(store: DeliveryStore) -> None:
    delivery = a_delivery()
    assert not store.advance(delivery, tried(delivery))
    assert kept(store, delivery) is None


def test_due_is_what_waits_and_whose_time_has_come(store: DeliveryStore) -> None:
    past = a_delivery(next_at=NOON - timedelta(hours=3), client_id="other")
    now, soon = a_delivery(next_at=NOON), a_delivery(next_at=NOON + timedelta(microseconds=1))
    ended = a_delivery(status="failed", next_at=None)
    for delivery in (past, now, soon, ended):
        store.add(delivery)
    assert {one.id for one in store.due(NOON)} == {past.id, now.id}


def test_due_finds_every_shard(store: DeliveryStore) -> None:
    many = [a_delivery() for _ in range(8 * records.DUE_SHARDS)]
    for delivery in many:
        store.add(delivery)
    assert sorted(one.id for one in store.due(LATER)) == sorted(one.id for one in many)


def test_what_has_moved_on_is_not_due(store: DeliveryStore) -> None:
    delivery = a_delivery()
    store.add(delivery)
    store.advance(delivery, tried(delivery))
    assert list(store.due(NOON)) == []
    [due] = store.due(LATER)
    store.advance(due, due.model_copy(update={"status": "delivered", "next_at": None}))
    assert list(store.due(LATER)) == []


def test_the_log_is_one_client_s_newest_first(store: DeliveryStore) -> None:
    events = [f"evt_01JD000000000000000000000{n}" for n in range(4)]
    for event in (events[2], events[0], events[3], events[1]):
        store.add(a_delivery(id=event))
    store.add(a_delivery(client_id="other"))
    assert [one.id for one in store.log("acme", 3)] == events[:0:-1]
    assert store.log("nobody", 3) == ()


# --- the table alone --------------------------------------------------------------------


def test_only_what_waits_is_in_the_index(table: Table) -> None:
    store, delivery = DynamoDeliveryStore(table), a_delivery()
    store.add(delivery)
    assert len(table.scan(IndexName=records.INDEX)["Items"]) == 1
    ended = delivery.model_copy(update={"status": "delivered", "next_at": None})
    assert store.advance(delivery, ended)
    assert table.scan(IndexName=records.INDEX)["Items"] == []


def test_a_delivery_is_forgotten_after_thirty_days(table: Table) -> None:
    DynamoDeliveryStore(table).add(a_delivery())
    [item] = table.scan()["Items"]
    life = int(str(item["expires_at_epoch"])) - NOON.timestamp()
    assert timedelta(seconds=life) == timedelta(days=30)


def test_a_field_of_a_newer_release_is_no_obstacle(table: Table) -> None:
    store, delivery = DynamoDeliveryStore(table), a_delivery()
    store.add(delivery)
    table.update_item(
        Key=records.delivery_key("acme", delivery.id, "webhook"),
        UpdateExpression="SET document = :document",
        ExpressionAttributeValues={":document": delivery.model_dump_json()[:-1] + ', "news": 1}'},
    )
    found = kept(store, delivery)
    assert found == delivery
    assert store.advance(found, tried(found))


def test_without_a_table_there_is_a_clear_error(table: Table) -> None:
    store, delivery = DynamoDeliveryStore(table), a_delivery()
    table.delete()
    with pytest.raises(StorageUnavailable):
        store.get("acme", delivery.id, "mail")
    with pytest.raises(StorageUnavailable):
        store.advance(delivery, tried(delivery))
    with pytest.raises(StorageUnavailable):
        list(store.due(NOON))
    with pytest.raises(StorageUnavailable):
        DynamoSecretStore(table).secrets("acme")


# --- signing secrets and the deployment -------------------------------------------------


@pytest.mark.parametrize("kind", ["fake", "dynamodb"])
def test_secrets_are_each_client_s_own(kind: str, request: pytest.FixtureRequest) -> None:
    both = SigningSecrets(current="whsec_new", former="whsec_old", former_until=LATER)
    store: SecretStore
    if kind == "fake":
        store = fake = FakeSecretStore()
        fake.put("acme", both)
    else:
        table: Table = request.getfixturevalue("table")
        store = DynamoSecretStore(table)
        table.put_item(Item=secrets_item("acme", both))
    assert store.secrets("acme") == both
    assert store.secrets("other") is None


def test_a_client_s_record_holds_no_secret() -> None:
    assert not any("secret" in name for name in Client.model_fields)


def test_secrets_do_not_show_themselves() -> None:
    both = SigningSecrets(current="whsec_new", former="whsec_old", former_until=LATER)
    assert "whsec" not in repr(both)
    assert "whsec" not in f"{both}"


def test_the_address_of_the_api_is_read_once(table: Table) -> None:
    reader = DeploymentReader(table)
    with pytest.raises(StorageUnavailable):
        reader.api_url()
    table.put_item(Item=DEPLOYMENT_KEY | {"api_url": "https://api.example/v1"})
    assert reader.api_url() == "https://api.example/v1"
    table.delete()
    assert reader.api_url() == "https://api.example/v1"
