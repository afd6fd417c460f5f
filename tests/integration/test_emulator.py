"""The local AWS as we bridge it: the calls `chalice deploy` needs, and what the API then does."""

from __future__ import annotations

import base64
import io
import json
import time
import zipfile
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from admin_cli import emulator
from admin_cli.console import CliError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mypy_boto3_apigateway import APIGatewayClient

    from admin_cli.emulator import LocalAws

FUNCTION = """
import json

def handler(event, context):
    seen = {name: event[name] for name in ("resource", "body", "isBase64Encoded")}
    seen["identity"] = event["requestContext"]["identity"]
    return {"statusCode": 200, "body": json.dumps(seen), "headers": {}}
"""
ROLE = "arn:aws:iam::000000000000:role/any"
KEY = "k" * 41


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    home = tmp_path_factory.mktemp("emulator")
    try:
        yield emulator.start(home)
    finally:
        emulator.stop(home)


def client(aws: LocalAws, service: str) -> Any:
    return boto3.client(  # type: ignore[call-overload]
        service,
        endpoint_url=aws.url,
        region_name=emulator.REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture(scope="module")
def function_arn(aws: LocalAws) -> str:
    return echo_function(aws)


def echo_function(aws: LocalAws) -> str:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("echo.py", FUNCTION)
    made = client(aws, "lambda").create_function(
        FunctionName="echo",
        Runtime="python3.11",
        Role=ROLE,
        Handler="echo.handler",
        Code={"ZipFile": archive.getvalue()},
    )
    return str(made["FunctionArn"])


@pytest.fixture
def gateway(aws: LocalAws) -> APIGatewayClient:
    return client(aws, "apigateway")  # type: ignore[no-any-return]


def document(function_arn: str, *paths: str, keyed: bool = False) -> bytes:
    """Swagger as Chalice writes it."""
    uri = f"arn:aws:apigateway:{emulator.REGION}:lambda:path/2015-03-31/functions/{function_arn}"
    operation: dict[str, Any] = {
        "consumes": ["*/*"],
        "produces": ["application/json"],
        "responses": {"200": {"description": "200 response"}},
        "x-amazon-apigateway-integration": {
            "uri": f"{uri}/invocations",
            "httpMethod": "POST",
            "type": "aws_proxy",
            "passthroughBehavior": "when_no_match",
            "contentHandling": "CONVERT_TO_TEXT",
        },
    }
    if keyed:
        operation["security"] = [{"api_key": []}]
    return json.dumps(
        {
            "swagger": "2.0",
            "info": {"version": "1.0", "title": "echo"},
            "schemes": ["https"],
            "paths": {path: {"post": operation} for path in paths},
            "securityDefinitions": {
                "api_key": {"type": "apiKey", "name": "x-api-key", "in": "header"}
            },
            "x-amazon-apigateway-binary-media-types": ["*/*"],
        }
    ).encode()


def imported(gateway: APIGatewayClient, body: bytes) -> str:
    api = gateway.import_rest_api(body=body, parameters={"endpointConfigurationTypes": "REGIONAL"})
    gateway.create_deployment(restApiId=api["id"], stageName="v1")
    return api["id"]


def post(aws: LocalAws, api_id: str, path: str, **options: Any) -> httpx.Response:
    return httpx.post(f"{aws.url}/restapis/{api_id}/v1/_user_request_{path}", timeout=30, **options)


def test_import_makes_an_api_that_calls_the_function(
    aws: LocalAws, gateway: APIGatewayClient, function_arn: str
) -> None:
    api_id = imported(gateway, document(function_arn, "/a", "/a/{b}"))
    found = gateway.get_rest_api(restApiId=api_id)
    assert found["name"] == "echo"
    assert found["endpointConfiguration"]["types"] == ["REGIONAL"]
    assert found["binaryMediaTypes"] == ["*/*"]
    assert post(aws, api_id, "/a/1").json()["resource"] == "/a/{b}"


def test_put_keeps_the_id_and_replaces_routes_and_gateway_responses(
    aws: LocalAws, gateway: APIGatewayClient, function_arn: str
) -> None:
    api_id = imported(gateway, document(function_arn, "/old"))
    gateway.put_gateway_response(restApiId=api_id, responseType="INVALID_API_KEY", statusCode="418")
    answer = gateway.put_rest_api(
        restApiId=api_id, mode="overwrite", body=document(function_arn, "/new")
    )
    gateway.create_deployment(restApiId=api_id, stageName="v1")
    assert answer["id"] == api_id
    assert post(aws, api_id, "/new").status_code == 200
    assert post(aws, api_id, "/old").status_code == 403
    response = gateway.get_gateway_response(restApiId=api_id, responseType="INVALID_API_KEY")
    assert response["defaultResponse"]


def test_a_broken_document_changes_nothing(
    aws: LocalAws, gateway: APIGatewayClient, function_arn: str
) -> None:
    api_id = imported(gateway, document(function_arn, "/here"))
    before = len(gateway.get_rest_apis(limit=500)["items"])
    broken = json.dumps({"swagger": "2.0", "paths": {"/x": ["no", "map"]}}).encode()
    with pytest.raises(ClientError, match="Invalid OpenAPI input"):
        gateway.put_rest_api(restApiId=api_id, mode="overwrite", body=broken)
    with pytest.raises(ClientError, match="Invalid OpenAPI input"):
        gateway.import_rest_api(body=broken)
    assert post(aws, api_id, "/here").status_code == 200
    assert len(gateway.get_rest_apis(limit=500)["items"]) == before


def test_put_to_an_unknown_api_is_not_found(gateway: APIGatewayClient) -> None:
    with pytest.raises(ClientError) as caught:
        gateway.put_rest_api(restApiId="nothere", mode="overwrite", body=b"{}")
    assert caught.value.response["Error"]["Code"] == "NotFoundException"


def test_a_deleted_api_answers_no_more(
    aws: LocalAws, gateway: APIGatewayClient, function_arn: str
) -> None:
    api_id = imported(gateway, document(function_arn, "/a"))
    gateway.delete_rest_api(restApiId=api_id)
    assert post(aws, api_id, "/a").status_code == 404


@pytest.mark.parametrize("media_type", [None, "image/png", "application/x-www-form-urlencoded"])
def test_bytes_arrive_as_they_were_sent(
    aws: LocalAws, gateway: APIGatewayClient, function_arn: str, media_type: str | None
) -> None:
    api_id = imported(gateway, document(function_arn, "/a"))
    body = bytes(range(256))
    headers = {} if media_type is None else {"content-type": media_type}
    seen = post(aws, api_id, "/a", content=body, headers=headers).json()
    assert seen["isBase64Encoded"]
    assert base64.b64decode(seen["body"]) == body


def test_a_keyed_route_opens_to_a_key_of_a_plan_and_names_it(
    aws: LocalAws, gateway: APIGatewayClient, function_arn: str
) -> None:
    api_id = imported(gateway, document(function_arn, "/a", keyed=True))
    key = gateway.create_api_key(name="one", value=KEY, enabled=True)
    plan = gateway.create_usage_plan(name="p", apiStages=[{"apiId": api_id, "stage": "v1"}])
    assert post(aws, api_id, "/a", headers={"x-api-key": KEY}).status_code == 403
    gateway.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
    opened = post(aws, api_id, "/a", headers={"x-api-key": KEY})
    assert opened.status_code == 200
    assert opened.json()["identity"]["apiKeyId"] == key["id"]
    assert post(aws, api_id, "/a").status_code == 403
    gateway.update_api_key(
        apiKey=key["id"], patchOperations=[{"op": "replace", "path": "/enabled", "value": "false"}]
    )
    assert post(aws, api_id, "/a", headers={"x-api-key": KEY}).status_code == 403
    gateway.delete_api_key(apiKey=key["id"])


def test_a_key_is_disabled_unless_told_otherwise(gateway: APIGatewayClient) -> None:
    assert gateway.create_api_key(name="asleep")["enabled"] is False


def test_a_plan_gains_and_loses_a_stage_by_patch(
    gateway: APIGatewayClient, function_arn: str
) -> None:
    first = imported(gateway, document(function_arn, "/a"))
    second = imported(gateway, document(function_arn, "/a"))
    plan = gateway.create_usage_plan(name="p", apiStages=[{"apiId": first, "stage": "v1"}])
    for operation, expected in (("add", {first, second}), ("remove", {first})):
        gateway.update_usage_plan(
            usagePlanId=plan["id"],
            patchOperations=[
                {"op": operation, "path": "/apiStages", "value": f"{second}:v1"},  # type: ignore[typeddict-item]
            ],
        )
        stages = gateway.get_usage_plan(usagePlanId=plan["id"])["apiStages"]
        assert {stage["apiId"] for stage in stages} == expected


def test_the_patches_of_chalice_leave_the_types_of_an_api_alone(
    gateway: APIGatewayClient, function_arn: str
) -> None:
    api_id = imported(gateway, document(function_arn, "/a"))
    gateway.update_rest_api(
        restApiId=api_id,
        patchOperations=[
            {"op": "replace", "path": "/minimumCompressionSize", "value": ""},
            {"op": "replace", "path": "/endpointConfiguration/types/REGIONAL", "value": "EDGE"},
        ],
    )
    found = gateway.get_rest_api(restApiId=api_id)
    assert found["endpointConfiguration"]["types"] == ["EDGE"]
    assert not found.get("minimumCompressionSize")


SPY = """
import os, side

def handler(event, context):
    return [os.path.realpath(side.__file__), os.path.exists(side.__cached__), side.VALUE]
"""


def spying_function(aws: LocalAws, name: str, value: int) -> list[Any]:
    """Make a function and return where its module lies, whether compiled, and what is in it."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("spy.py", SPY)
        file.writestr("side.py", f"VALUE = {value}")
    made = {"Role": ROLE, "Runtime": "python3.11", "Handler": "spy.handler"}
    functions = client(aws, "lambda")
    functions.create_function(FunctionName=name, Code={"ZipFile": archive.getvalue()}, **made)
    answer: list[Any] = json.load(functions.invoke(FunctionName=name)["Payload"])
    return answer


def test_processes_with_the_same_code_share_it_and_its_bytecode(aws: LocalAws) -> None:
    first, second = spying_function(aws, "spy-1", 1), spying_function(aws, "spy-2", 1)
    assert first == second
    assert first[1:] == [True, 1]
    other = spying_function(aws, "spy-3", 2)
    assert other[0] != first[0]
    assert other[1:] == [True, 2]


def test_state_outlives_a_restart_and_a_second_start_is_the_same_one(tmp_path: Path) -> None:
    first = emulator.start(tmp_path)
    try:
        assert emulator.start(tmp_path) == first
        client(first, "dynamodb").create_table(
            TableName="kept",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        )
        client(first, "s3").create_bucket(
            Bucket="kept", CreateBucketConfiguration={"LocationConstraint": emulator.REGION}
        )
        client(first, "s3").put_object(Bucket="kept", Key="a", Body=b"1")
        assert emulator.stop(tmp_path)
        assert emulator.running(tmp_path) is None
        second = emulator.start(tmp_path, first.port)
        assert second.port == first.port
        assert client(second, "dynamodb").list_tables()["TableNames"] == ["kept"]
        assert client(second, "s3").get_object(Bucket="kept", Key="a")["Body"].read() == b"1"
    finally:
        emulator.stop(tmp_path)
    assert not emulator.stop(tmp_path)


def test_a_queue_wakes_its_function_after_a_start_on_another_port(
    tmp_path: Path, aws: LocalAws
) -> None:
    try:
        first = emulator.start(tmp_path)
        queue = client(first, "sqs").create_queue(QueueName="jobs")["QueueUrl"]
        assert queue.startswith(first.url)
        client(first, "lambda").create_event_source_mapping(
            EventSourceArn=f"arn:aws:sqs:{emulator.REGION}:000000000000:jobs",
            FunctionName=echo_function(first),
        )
        emulator.stop(tmp_path)
        second = emulator.start(tmp_path, aws.port)  # taken: it must take another than before
        sqs = client(second, "sqs")
        assert sqs.get_queue_url(QueueName="jobs")["QueueUrl"].startswith(second.url)
        sqs.send_message(QueueUrl=queue, MessageBody="ring")
        waiting = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=waiting)["Attributes"]
            if counts["ApproximateNumberOfMessagesNotVisible"] != "0" or set(counts.values()) == {
                "0"
            }:
                return
            time.sleep(0.2)
        pytest.fail(f"nobody took the message: {counts}")
    finally:
        emulator.stop(tmp_path)


def test_a_taken_port_is_left_to_its_owner(tmp_path: Path, aws: LocalAws) -> None:
    try:
        assert emulator.start(tmp_path, aws.port).port != aws.port
    finally:
        emulator.stop(tmp_path)


def test_without_an_emulator_the_endpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="radgate local up"):
        emulator.use_local_endpoint(tmp_path)
