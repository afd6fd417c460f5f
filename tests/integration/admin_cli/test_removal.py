"""Deleting a client: all of it goes but ledger and trail, and a crash anywhere is no loss."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from boto3.dynamodb.conditions import Key

from admin_cli.console import CliError
from admin_cli.emulator import PROJECT
from admin_cli.tenants.removal import QUIET_AFTER, ClientStore, Removal, quiet_after
from chalicelib.domain import Quota, Scope
from chalicelib.errors import KeyUnknown
from chalicelib.services.identity import CACHE_SECONDS, IdentityService
from chalicelib.tenants import keys
from chalicelib.tenants.directory import DynamoDirectory
from chalicelib.tenants.studies import DynamoStudyStore
from tests.fakes.values import NOON, a_caller, a_plan, a_study
from tests.integration.admin_cli.conftest import Fuse, Killed, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

    from admin_cli.tenants.registry import IssuedKey

BUCKET = "radgate-test"
WRONG = ("91", "-1", "1.5", "x", "٣")
# Every call of a deletion that changes something, of two keys, in order.
REMOVE = [
    *("TransactWriteItems", "TransactWriteItems", "TransactWriteItems"),  # suspended, two revoked
    *("DeleteObjects", "BatchWriteItem"),
    *("DeleteApiKey", "TransactWriteItems", "DeleteApiKey", "TransactWriteItems"),
    *("UpdateUsagePlan", "DeleteUsagePlan"),
    "TransactWriteItems",  # buried
]


@pytest.fixture
def s3(world: World) -> S3Client:
    assert world.table.name
    client: S3Client = boto3.client("s3", region_name="eu-central-1")
    client.create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    return client


def removal(world: World, s3: S3Client) -> Removal:
    store = ClientStore(world.table, s3, BUCKET)
    parts = (world.registry(), world.accounts, world.gateway, store)
    return Removal(*parts, world.clock, world.clock.advance)


@contextmanager
def fused(world: World, s3: S3Client, calls: int) -> Iterator[list[str]]:
    """Let as many calls through that change something, and then end the process; yield them."""
    fuse = Fuse(calls)

    def burn(event_name: str, **_: object) -> None:
        operation = event_name.rsplit(".", 1)[-1]
        if operation in REMOVE:
            fuse.burn(operation)

    clients: tuple[Any, ...] = (world.table.meta.client, world.apigateway, s3)
    for client in clients:
        client.meta.events.register("before-call", burn)
    try:
        yield fuse.made
    finally:
        for client in clients:
            client.meta.events.unregister("before-call", burn)


def populate(world: World, s3: S3Client, client_id: str) -> list[IssuedKey]:
    """Make a client with two keys, three studies and their reports."""
    client = world.registry().create_client(client_id, "Acme", "it@acme.example", "clinic")
    issued = [world.registry().issue_key(client_id) for _ in range(2)]
    store = DynamoStudyStore(world.table, world.clock)
    for _ in range(3):
        study = a_study(created_at=world.clock())
        store.add(a_caller(client, issued[0].key), study)
        name = f"clients/{client_id}/studies/{study.id}/report.pdf"
        s3.put_object(Bucket=BUCKET, Key=name, Body=b"%PDF")
    s3.put_object(Bucket=BUCKET, Key=f"uploads/{client_id}/up_1", Body=b"image")
    return issued


def objects(s3: S3Client) -> set[str]:
    found = s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {str(one.get("Key")).split("/")[1] for one in found}


def assert_gone(world: World, s3: S3Client) -> None:
    left = world.table.query(KeyConditionExpression=Key("pk").eq("CLIENT#acme"))["Items"]
    assert [str(item["sk"]).partition("#")[0] for item in left] == ["FORMER", "TERMS", "USAGE"]
    assert objects(s3) == {"acme-2"}
    assert len(world.plans_in_gateway()) == 1
    # What belongs to the client whose name begins alike is whole.
    assert len(world.keys_in_gateway()) == 2
    assert world.records("HASH#") == ["HASH"] * 2
    assert world.records("KEY#") == ["KEY"] * 2
    assert len(DynamoStudyStore(world.table, world.clock).page("acme-2", 9, None, None).items) == 3
    assert [client.id for client in world.registry().clients()] == ["acme-2"]
    assert world.audited()[-1].action == "client.delete"


def test_all_of_a_client_goes_but_its_ledger_and_its_trail(world: World, s3: S3Client) -> None:
    issued = populate(world, s3, "acme")
    populate(world, s3, "acme-2")
    counts = removal(world, s3).count("acme")
    assert counts == {"keys": 2, "studies": 3, "objects": 4}
    former = removal(world, s3).remove("acme")
    assert_gone(world, s3)
    assert (former.name, former.created_at, former.plan) == ("Acme", NOON, a_plan())
    assert world.accounts.formers() == (former,)
    usage = world.table.get_item(Key={"pk": "CLIENT#acme", "sk": "USAGE#2026-11-01"})["Item"]
    assert usage["used"] == 3
    identity = IdentityService(DynamoDirectory(world.table), keys.fingerprint, world.clock)
    with pytest.raises(KeyUnknown):
        identity.verify(issued[0].secret, Scope.STUDIES_READ)


def test_it_waits_until_no_function_can_still_take_a_study(world: World, s3: S3Client) -> None:
    populate(world, s3, "acme")
    former = removal(world, s3).remove("acme")
    assert former.deleted_at - NOON == QUIET_AFTER


def test_a_client_without_keys_goes_at_once(world: World, s3: S3Client) -> None:
    world.registry().create_client("acme", "Acme", "it@acme.example", "clinic")
    assert removal(world, s3).remove("acme").deleted_at == NOON


def test_the_calls_are_the_ones_that_are_killed_below(world: World, s3: S3Client) -> None:
    """API Gateway is asked once for each key, as it takes five a second."""
    populate(world, s3, "acme")
    with fused(world, s3, 99) as made:
        removal(world, s3).remove("acme")
    assert made == REMOVE


def test_api_gateway_is_asked_once_for_each_key_there_ever_was(world: World, s3: S3Client) -> None:
    issued = populate(world, s3, "acme")
    world.registry().revoke_key(issued[0].key.id)
    expired = world.registry().issue_key("acme", expires_in=timedelta(hours=1)).key
    world.clock.advance(3600)
    with pytest.raises(Killed):  # the next one files what has expired, and is left half made
        world.registry(fuse=Fuse(6)).issue_key("acme")
    assert world.keyring.working("acme")[0].id == issued[1].key.id
    assert world.registry().key(expired.id).revoked_at is None
    with fused(world, s3, 99) as made:
        removal(world, s3).remove("acme")
    assert made.count("DeleteApiKey") == 4
    assert world.keys_in_gateway() == {}
    assert world.records("KEY#") == world.records("HASH#") == []


@pytest.mark.parametrize("calls", range(len(REMOVE)))
def test_a_crash_at_any_step_is_finished_by_the_next_run(
    world: World, s3: S3Client, calls: int
) -> None:
    issued = populate(world, s3, "acme")
    populate(world, s3, "acme-2")
    with fused(world, s3, calls) as made, pytest.raises(Killed):
        removal(world, s3).remove("acme")
    assert made == REMOVE[:calls]
    if calls:
        caller = DynamoDirectory(world.table).identify(issued[0].key.sha256)
        assert caller is None or caller.client.status == "suspended"
        for use in (world.registry().resume, world.registry().issue_key):
            with pytest.raises(CliError, match="being deleted"):
                use("acme")
    with fused(world, s3, 99) as again:
        former = removal(world, s3).remove("acme")
    # A key is asked for twice only if the first run ended before it could note the answer.
    done = made.count("DeleteApiKey") - (made[-1:] == ["DeleteApiKey"])
    assert again.count("DeleteApiKey") == 2 - done
    assert_gone(world, s3)
    assert removal(world, s3).remove("acme") == former


@pytest.mark.parametrize(
    ("stage", "told", "seconds"), [("local", "3", 3), ("local", "", 90), ("prod", "", 90)]
)
def test_the_wait_is_shortened_on_the_local_aws_alone(
    monkeypatch: pytest.MonkeyPatch, stage: str, told: str, seconds: int
) -> None:
    monkeypatch.setenv("RADGATE_QUIET_SECONDS", told)
    assert quiet_after(stage) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("stage", "told", "reason"),
    [
        ("prod", "3", "for stage local alone"),
        ("prod", "90", "for stage local alone"),
        *(("local", told, "whole number of seconds, at most 90") for told in WRONG),
    ],
)
def test_any_other_wait_is_refused(
    monkeypatch: pytest.MonkeyPatch, stage: str, told: str, reason: str
) -> None:
    monkeypatch.setenv("RADGATE_QUIET_SECONDS", told)
    with pytest.raises(CliError, match=reason):
        quiet_after(stage)


def test_the_wait_covers_the_longest_that_the_api_s_function_may_run() -> None:
    config = json.loads((PROJECT / ".chalice" / "config.json").read_text())
    handlers = [stage["lambda_functions"]["api_handler"] for stage in config["stages"].values()]
    longest = max(one.get("lambda_timeout", config["lambda_timeout"]) for one in handlers)
    assert QUIET_AFTER.total_seconds() >= CACHE_SECONDS + longest


def test_the_id_of_a_deleted_client_is_never_given_again(world: World, s3: S3Client) -> None:
    world.registry().create_client("acme", "Acme", "it@acme.example", "clinic")
    removal(world, s3).remove("acme")
    with pytest.raises(CliError, match="belonged to a client that was deleted"):
        world.registry().create_client("acme", "Another", "it@other.example", "clinic")


def test_a_client_that_never_was_cannot_be_deleted(world: World, s3: S3Client) -> None:
    for use in (removal(world, s3).remove, removal(world, s3).count):
        with pytest.raises(CliError, match="no client ghost"):
            use("ghost")
    assert world.audited() == []


# --- clients update -----------------------------------------------------------------------


def test_a_clients_gate_policy_is_changed_and_told_in_the_audit_trail(world: World) -> None:
    registry = world.registry()
    made = registry.create_client("acme", "Acme", "it@acme.example", "clinic")
    assert made.gate_policy == "block"
    assert registry.update_client("acme", gate_policy="warn").gate_policy == "warn"
    event = world.audited()[-1]
    assert (event.action, event.after) == ("client.update", {"gate_policy": "warn"})


def test_a_client_s_details_and_plan_are_changed_in_both_places(world: World) -> None:
    registry = world.registry()
    registry.create_client("acme", "Acme", "it@acme.example", "clinic")
    world.clock.advance(60)
    updated = registry.update_client("acme", name="Acme & Sons", plan="trial")
    assert (updated.name, updated.email) == ("Acme & Sons", "it@acme.example")
    assert updated.plan.studies == Quota(limit=10, period="month")
    assert registry.client("acme") == updated
    [plan] = world.plans_in_gateway()
    assert plan["quota"]["limit"] == 100
    told = [(e.action, e.before, e.after) for e in world.audited()[-3:]]
    assert told[0] == ("client.update", {"name": "Acme"}, {"name": "Acme & Sons"})
    assert [part and part["plan"]["name"] for part in told[1][1:]] == ["clinic", "trial"]
    assert told[2] == ("client.gate", {"/quota/limit": "1000"}, {"/quota/limit": "100"})
    terms = [sk for sk in world.records("CLIENT#acme") if sk.startswith("TERMS#")]
    assert terms == ["TERMS#2026-11-18T12:00:00.000000Z", "TERMS#2026-11-18T12:01:00.000000Z"]


def test_updating_twice_changes_nothing_the_second_time(world: World) -> None:
    registry = world.registry()
    registry.create_client("acme", "Acme", "it@acme.example", "clinic")
    first = registry.update_client("acme", email="new@acme.example", plan="trial")
    trail = world.audited()
    assert registry.update_client("acme", email="new@acme.example", plan="trial") == first
    assert world.audited() == trail


@pytest.mark.parametrize("calls", range(1, 10))
def test_a_crash_in_clients_update_is_finished_by_the_next_run(world: World, calls: int) -> None:
    world.registry().create_client("acme", "Acme", "it@acme.example", "clinic")
    fuse = Fuse(calls)
    try:
        world.registry(fuse=fuse).update_client("acme", name="New", plan="trial")
    except Killed:
        pass
    else:
        steps = ["client", "set_details", "set_plan", "client", "set_limits", "note_gate"]
        assert fuse.made == steps
    world.registry().update_client("acme", name="New", plan="trial")
    assert world.registry().client("acme").plan.name == "trial"
    [plan] = world.plans_in_gateway()
    assert plan["quota"]["limit"] == 100


@pytest.mark.parametrize(
    ("field", "value"), [("name", ""), ("name", "x" * 201), ("email", "x"), ("plan", "gold")]
)
def test_details_that_do_not_fit_are_refused_and_nothing_changes(
    world: World, field: str, value: str
) -> None:
    client = world.registry().create_client("acme", "Acme", "it@acme.example", "clinic")
    details: dict[str, Any] = {field: value}
    with pytest.raises(CliError):
        world.registry().update_client("acme", **details)
    assert world.registry().client("acme") == client
