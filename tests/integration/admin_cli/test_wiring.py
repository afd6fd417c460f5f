"""Queues wake their functions as configured: made once, mended when changed, removed whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from admin_cli.console import CliError
from admin_cli.deploying.stage_settings import StageSettings, Workers
from admin_cli.deploying.wiring import TRIES, connect, disconnect, unwired, wires
from tests.integration.admin_cli.conftest import make_functions
from tests.unit.test_policies import foundation

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

REGION = "eu-central-1"
FUNCTIONS = {"worker": "radgate-dev-worker", "deliver": "radgate-dev-deliver"}
SETTINGS = StageSettings(workers=Workers(first=40, bulk=7))


@pytest.fixture
def client(account: None) -> LambdaClient:
    del account
    make_functions(FUNCTIONS.values())
    return boto3.client("lambda")


@pytest.fixture
def wanted(client: LambdaClient) -> tuple[Any, ...]:
    del client
    sqs = boto3.client("sqs", region_name=REGION)
    found = foundation("dev")
    arns = {}
    for field in ("QueueArn", "BulkQueueArn", "DeliveryQueueArn"):
        name = getattr(found, field).rpartition(":")[2]
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arns[field] = attributes["Attributes"]["QueueArn"]
    return wires(found.model_copy(update=arns), SETTINGS)


def mappings(client: LambdaClient) -> dict[str, dict[str, Any]]:
    found = client.list_event_source_mappings()["EventSourceMappings"]
    assert len({one["EventSourceArn"] for one in found}) == len(found)
    return {one["EventSourceArn"].rpartition(":")[2]: dict(one) for one in found}


def test_each_queue_wakes_its_function_once(client: LambdaClient, wanted: tuple[Any, ...]) -> None:
    told: list[str] = []
    connect(client, FUNCTIONS, wanted, told.append)
    connect(client, FUNCTIONS, wanted, pytest.fail)
    assert len(told) == 3
    found = mappings(client)
    first, bulk = found["radgate-dev-jobs"], found["radgate-dev-jobs-bulk"]
    assert first["FunctionArn"] == bulk["FunctionArn"]
    assert first["FunctionArn"].endswith(":radgate-dev-worker")
    assert first["ScalingConfig"] == {"MaximumConcurrency": 40}
    assert bulk["ScalingConfig"] == {"MaximumConcurrency": 7}
    assert found["radgate-dev-deliveries"]["FunctionArn"].endswith(":radgate-dev-deliver")
    for mapping in found.values():
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert list(unwired(client, FUNCTIONS, wanted)) == []


def test_a_changed_wire_is_mended_in_place(client: LambdaClient, wanted: tuple[Any, ...]) -> None:
    connect(client, FUNCTIONS, wanted, lambda _text: None)
    before = mappings(client)
    uuid = before["radgate-dev-jobs"]["UUID"]
    client.update_event_source_mapping(UUID=uuid, BatchSize=1)
    [astray] = unwired(client, FUNCTIONS, wanted)
    assert astray.queue_arn.endswith(":radgate-dev-jobs")
    told: list[str] = []
    connect(client, FUNCTIONS, wanted, told.append)
    assert told == ["changing the wire of queue radgate-dev-jobs to function radgate-dev-worker"]
    after = mappings(client)
    assert after["radgate-dev-jobs"]["BatchSize"] == before["radgate-dev-jobs"]["BatchSize"]
    assert {m["UUID"] for m in after.values()} == {m["UUID"] for m in before.values()}


def test_a_function_that_is_not_there_yet_is_left_out(
    client: LambdaClient, wanted: tuple[Any, ...]
) -> None:
    connect(client, {"worker": FUNCTIONS["worker"]}, wanted, lambda _text: None)
    assert set(mappings(client)) == {"radgate-dev-jobs", "radgate-dev-jobs-bulk"}


def test_all_wires_of_functions_are_removed(client: LambdaClient, wanted: tuple[Any, ...]) -> None:
    connect(client, FUNCTIONS, wanted, lambda _text: None)
    disconnect(client, FUNCTIONS)
    assert mappings(client) == {}


def refusing(code: str, message: str, times: int) -> tuple[LambdaClient, Stubber]:
    client = boto3.client("lambda", region_name=REGION)
    stubber = Stubber(client)
    wire = wires(foundation("dev"), SETTINGS)[2]
    stubber.add_response("list_event_source_mappings", {"EventSourceMappings": []})
    for _ in range(times):
        stubber.add_client_error("create_event_source_mapping", code, message)
    whole = {"EventSourceArn": wire.queue_arn, "FunctionName": FUNCTIONS["deliver"]}
    stubber.add_response("create_event_source_mapping", {}, whole | wire.settings())
    stubber.activate()
    return client, stubber


FRESH = (
    "InvalidParameterValueException",
    "The provided execution role does not have permissions to call ReceiveMessage on SQS",
)


@pytest.mark.usefixtures("client")
def test_a_role_that_was_just_made_is_waited_for() -> None:
    client, stubber = refusing(*FRESH, times=3)
    pauses: list[float] = []
    wanted = wires(foundation("dev"), SETTINGS)[2:]
    connect(client, FUNCTIONS, wanted, lambda _text: None, pauses.append)
    assert len(pauses) == 3
    stubber.assert_no_pending_responses()


@pytest.mark.usefixtures("client")
def test_a_role_that_never_gets_its_rights_ends_in_one_line() -> None:
    client, _ = refusing(*FRESH, times=TRIES)
    wanted = wires(foundation("dev"), SETTINGS)[2:]
    with pytest.raises(CliError, match="could not be wired"):
        connect(client, FUNCTIONS, wanted, lambda _text: None, lambda _seconds: None)


@pytest.mark.usefixtures("client")
def test_what_waiting_cannot_mend_is_told_at_once() -> None:
    client, _ = refusing("AccessDeniedException", "no", times=1)
    wanted = wires(foundation("dev"), SETTINGS)[2:]
    with pytest.raises(ClientError, match="AccessDenied"):
        connect(client, FUNCTIONS, wanted, lambda _text: None, lambda _s: pytest.fail("waits"))


def test_a_flood_cannot_take_the_workers_of_the_first_queue() -> None:
    with pytest.raises(ValueError, match="bulk must be fewer"):
        StageSettings(workers=Workers(first=5, bulk=5))
    first, bulk, _ = wires(foundation("dev"), SETTINGS)
    assert first.queue_arn != bulk.queue_arn
    assert 0 < bulk.concurrency < first.concurrency
