"""Clients and keys, in the table and in API Gateway alike."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from admin_cli.console import CliError
from admin_cli.gateway import Gateway
from chalicelib.domain import Scope, new_id
from chalicelib.tenants import keys
from chalicelib.tenants.directory import DynamoDirectory
from tests.fakes.values import NOON, a_plan

if TYPE_CHECKING:
    from admin_cli.tenants.registry import Registry
    from chalicelib.domain import Client
    from tests.integration.admin_cli.conftest import World


def create(registry: Registry, client_id: str = "acme", **changes: str) -> Client:
    fields = {"name": "Acme Radiology", "email": "it@acme.example", "plan": "clinic"} | changes
    return registry.create_client(client_id, fields["name"], fields["email"], fields["plan"])


def test_a_client_has_its_plan_s_terms_in_both_places(world: World) -> None:
    client = create(world.registry())
    assert world.registry().client("acme") == client
    assert client.plan == a_plan()
    [plan] = world.plans_in_gateway()
    assert plan["id"] == client.usage_plan_id
    assert plan["name"] == "radgate-test-acme"
    assert (plan["quota"]["limit"], plan["quota"]["period"]) == (1000, "MONTH")
    assert (plan["throttle"]["rateLimit"], plan["throttle"]["burstLimit"]) == (5, 10)
    assert plan["apiStages"] == [{"apiId": world.rest_api_id, "stage": "v1"}]


def test_creating_a_client_again_changes_nothing(world: World) -> None:
    client = create(world.registry())
    world.registry().suspend("acme")
    again = create(world.registry())
    assert again == client.model_copy(update={"status": "suspended"})
    assert len(world.plans_in_gateway()) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "Other"), ("email", "other@acme.example"), ("plan", "trial")],
)
def test_an_id_that_is_taken_by_another_is_refused(world: World, field: str, value: str) -> None:
    client = create(world.registry())
    with pytest.raises(CliError, match="exists already"):
        create(world.registry(), **{field: value})
    assert world.registry().client("acme") == client


@pytest.mark.parametrize("client_id", ["", "a", "Acme", "-acme", "acme/x", "a" * 64, "CLIENT#x"])
def test_an_id_that_does_not_fit_is_refused(world: World, client_id: str) -> None:
    with pytest.raises(CliError, match="id"):
        create(world.registry(), client_id)
    assert world.records("CLIENT#") == []
    assert world.plans_in_gateway() == []


def test_an_unknown_plan_is_refused_with_the_choice(world: World) -> None:
    with pytest.raises(CliError, match="choose one of clinic, trial"):
        create(world.registry(), plan="gold")
    assert world.records("CLIENT#") == []


def test_clients_are_listed_by_id(world: World) -> None:
    for client_id in ("zeta", "acme", "mid-2"):
        create(world.registry(), client_id)
    assert [client.id for client in world.registry().clients()] == ["acme", "mid-2", "zeta"]


def test_suspending_and_resuming_is_seen_by_the_function_and_repeatable(world: World) -> None:
    create(world.registry())
    sha256 = world.registry().issue_key("acme").key.sha256

    def status() -> str:
        caller = DynamoDirectory(world.table).identify(sha256)
        assert caller is not None
        return caller.client.status

    for _ in range(2):
        assert world.registry().suspend("acme").status == status() == "suspended"
    for _ in range(2):
        assert world.registry().resume("acme").status == status() == "active"


def test_what_is_not_there_is_said(world: World) -> None:
    registry = world.registry()
    for use in (registry.client, registry.suspend, registry.resume, registry.keys):
        with pytest.raises(CliError, match="no client ghost"):
            use("ghost")
    with pytest.raises(CliError, match="no client ghost"):
        registry.issue_key("ghost")
    key_id = new_id("key")
    with pytest.raises(CliError, match=f"no key {key_id}"):
        registry.revoke_key(key_id)
    assert world.records("") == []


def test_an_issued_key_opens_both_doors(world: World) -> None:
    create(world.registry())
    issued = world.registry().issue_key(
        "acme",
        label="pacs",
        expires_in=timedelta(days=90),
        scopes=[Scope.STUDIES_WRITE],
        mode="test",
    )
    assert keys.read(issued.secret) == "test"
    caller = DynamoDirectory(world.table).identify(keys.sha256(issued.secret))
    assert caller is not None
    assert caller.key == issued.key
    assert caller.client.id == "acme"
    assert caller.key.label == "pacs"
    assert caller.key.expires_at == NOON + timedelta(days=90)
    assert caller.key.scopes == {Scope.STUDIES_WRITE}
    assert world.keys_in_gateway() == {issued.key.id: issued.secret}
    assert world.admitted() == {issued.secret}
    gateway_key = world.apigateway.get_api_key(apiKey=str(issued.key.gateway_key_id))
    assert gateway_key["enabled"] is True


def test_the_secret_is_nowhere_but_in_api_gateway(world: World) -> None:
    create(world.registry())
    issued = world.registry().issue_key("acme")
    assert issued.secret not in str(world.table.scan()["Items"])
    assert issued.secret not in repr(issued)
    assert issued.secret not in str(world.registry().keys("acme"))


def test_a_key_without_options_may_do_everything_for_ever(world: World) -> None:
    create(world.registry())
    key = world.registry().issue_key("acme").key
    assert (key.scopes, key.expires_at, key.mode) == (frozenset(Scope), None, "live")


def test_every_change_is_in_the_audit_trail_and_no_secret_or_hash_is(world: World) -> None:
    create(world.registry())
    issued = world.registry().issue_key("acme", label="pacs")
    world.registry().suspend("acme")
    world.registry().suspend("acme")
    world.registry().resume("acme")
    world.registry().revoke_key(issued.key.id)
    trail = world.audited()
    assert [(entry.action, entry.subject) for entry in trail] == [
        ("client.create", "acme"),
        ("client.usage_plan", "acme"),
        ("key.issue", issued.key.id),
        ("key.finish", issued.key.id),
        ("client.suspend", "acme"),
        ("client.resume", "acme"),
        ("key.revoke", issued.key.id),
    ]
    assert {entry.actor for entry in trail} == {"local:tester"}
    assert {entry.client_id for entry in trail} == {"acme"}
    assert (trail[0].before, trail[0].after and trail[0].after["plan"]["name"]) == (None, "clinic")
    assert (trail[4].before, trail[4].after) == ({"status": "active"}, {"status": "suspended"})
    for entry in trail:
        assert issued.secret not in entry.document()
        assert issued.key.sha256 not in entry.document()


def test_what_is_refused_is_not_in_the_audit_trail(world: World) -> None:
    create(world.registry())
    before = world.audited()
    with pytest.raises(CliError):
        create(world.registry(), name="Another")
    with pytest.raises(CliError):
        world.registry().suspend("ghost")
    with pytest.raises(CliError):
        world.registry().revoke_key(new_id("key"))
    assert world.audited() == before


def test_a_label_that_is_too_long_is_refused(world: World) -> None:
    create(world.registry())
    with pytest.raises(CliError, match="label"):
        world.registry().issue_key("acme", label="x" * 101)
    assert world.keys_in_gateway() == {}


def test_a_revoked_key_is_closed_in_both_places_and_stays_known(world: World) -> None:
    create(world.registry())
    kept, lost = (world.registry().issue_key("acme") for _ in range(2))
    revoked = world.registry().revoke_key(lost.key.id)
    assert revoked.revoked_at == NOON
    caller = DynamoDirectory(world.table).identify(lost.key.sha256)
    assert caller is not None
    assert caller.key.revoked_at == NOON
    assert world.admitted() == {kept.secret}
    assert set(world.keys_in_gateway()) == {kept.key.id}


def test_revoking_twice_keeps_the_first_time(world: World) -> None:
    create(world.registry())
    key_id = world.registry().issue_key("acme").key.id
    world.registry().revoke_key(key_id)
    world.clock.advance(3600)
    assert world.registry().revoke_key(key_id).revoked_at == NOON


def test_a_secret_given_for_an_id_is_not_repeated(world: World) -> None:
    create(world.registry())
    secret = world.registry().issue_key("acme").secret
    with pytest.raises(CliError) as refused:
        world.registry().revoke_key(secret)
    assert secret not in refused.value.message


def test_the_gateway_s_plan_is_found_among_many(world: World) -> None:
    for client_id in ("acme", "acme-2", "acm"):
        create(world.registry(), client_id)
    known = world.registry().client("acme-2").usage_plan_id
    assert world.gateway.find_usage_plan("acme-2") == known
    assert world.gateway.find_usage_plan("acme-22") is None


def test_a_usage_plan_on_another_api_is_not_taken_over(world: World) -> None:
    Gateway(world.apigateway, "test", world.rest_api_id, "old").create_usage_plan("acme", a_plan())
    with pytest.raises(CliError, match="radgate-test-acme is on another API"):
        create(world.registry())


def test_a_usage_plan_is_deleted_once_and_a_second_time_is_no_error(world: World) -> None:
    made = world.gateway.create_usage_plan("acme", a_plan())
    for _ in range(2):
        world.gateway.delete_usage_plan(made)
    assert world.plans_in_gateway() == []


def test_a_refusal_of_api_gateway_names_operation_and_reason_but_not_the_key(world: World) -> None:
    secret = keys.mint()
    world.gateway.create_key("key_1", secret)
    with pytest.raises(CliError) as refused:
        world.gateway.create_key("key_2", secret)
    assert refused.value.message.startswith("API Gateway refused CreateApiKey: ")
    assert secret not in refused.value.message
