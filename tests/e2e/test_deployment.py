"""Deploying again: nothing twice and nothing lost, after a kill or from another machine."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from admin_cli import emulator
from admin_cli.deploying import deployment
from admin_cli.deploying.deployment_record import Deployment, read_deployment
from admin_cli.deploying.gateway_responses import REFUSALS
from admin_cli.foundation import read_foundation
from tests.fresh import forget_everything

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_apigateway import APIGatewayClient

    from tests.e2e.conftest import Stack

START = """
import sys
sys.path.insert(0, sys.argv[1])
import app
event = {
    "httpMethod": "GET", "resource": "/health", "path": "/health", "headers": {}, "body": None,
    "multiValueHeaders": {}, "multiValueQueryStringParameters": None, "pathParameters": None,
    "stageVariables": None, "isBase64Encoded": False,
    "requestContext": {"httpMethod": "GET", "resourcePath": "/health", "requestId": "r"},
}
answer = app.app(event, None)
assert answer["statusCode"] == 200, answer
"""
PROBLEM = {"type", "title", "status", "detail", "code", "request_id"}


@pytest.fixture
def home(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shared stack's home, with this process pointed at its local AWS."""
    for name in ("AWS_ENDPOINT_URL", *emulator.LOCAL_CREDENTIALS):
        monkeypatch.setenv(name, "put back after the test")
    emulator.use_local_endpoint(stack.radgate.home)
    forget_everything()  # clients that other tests made for another local AWS
    return stack.radgate.home


@pytest.fixture
def gateway(home: Path) -> APIGatewayClient:
    assert home
    return boto3.client("apigateway")


def deploy(home: Path, *, force: bool = False) -> tuple[Deployment, list[str]]:
    told: list[str] = []
    made = deployment.deploy("local", read_foundation("local"), home, told.append, force=force)
    return made, told


def test_an_unchanged_project_is_not_deployed_again(stack: Stack, home: Path) -> None:
    made, told = deploy(home)
    assert told == ["code, configuration and gateway are unchanged: nothing to deploy"]
    assert made.api_url == stack.api_url


def test_a_deploy_keeps_the_api_and_drops_no_answer_of_the_gateway(
    home: Path, gateway: APIGatewayClient
) -> None:
    before = read_deployment("radgate-local")
    after, told = deploy(home, force=True)
    assert before is not None
    assert any(line.startswith("chalice: Updating") for line in told)
    assert after.rest_api_id == before.rest_api_id
    assert after.gateway_deployment != before.gateway_deployment
    live = gateway.get_stage(restApiId=after.rest_api_id, stageName=after.api_stage)
    assert live["deploymentId"] == after.gateway_deployment
    assert_problems(gateway, after.rest_api_id)


def test_a_kill_before_the_record_is_repaired_without_a_second_api(
    home: Path, gateway: APIGatewayClient
) -> None:
    """As after a kill between `chalice deploy` making the API and anybody noting its id."""
    before = read_deployment("radgate-local")
    assert before is not None
    boto3.client("dynamodb").delete_item(
        TableName="radgate-local", Key={"pk": {"S": "STAGE"}, "sk": {"S": "DEPLOYMENT"}}
    )
    (home / "build" / "local" / ".chalice" / "deployed" / "local.json").unlink()
    after, _told = deploy(home)
    assert after.rest_api_id == before.rest_api_id
    assert len(gateway.get_rest_apis(limit=500)["items"]) == 1
    assert_problems(gateway, after.rest_api_id)


def test_a_second_machine_learns_of_the_api_from_the_table(
    home: Path, tmp_path: Path, gateway: APIGatewayClient
) -> None:
    before = read_deployment("radgate-local")
    assert before is not None
    elsewhere, _told = deploy(tmp_path, force=True)
    assert elsewhere.rest_api_id == before.rest_api_id
    assert len(gateway.get_rest_apis(limit=500)["items"]) == 1
    # Its functions look for models in a folder of that other machine: put the stack back.
    assert deploy(home)[0].rest_api_id == before.rest_api_id


def test_answers_lost_to_a_deploy_by_hand_are_written_again(
    home: Path, gateway: APIGatewayClient
) -> None:
    before = read_deployment("radgate-local")
    assert before is not None
    gateway.delete_gateway_response(restApiId=before.rest_api_id, responseType="THROTTLED")
    gateway.create_deployment(restApiId=before.rest_api_id, stageName=before.api_stage)
    _made, told = deploy(home)
    assert "writing the gateway's answers and deploying its stage again" in told
    assert_problems(gateway, before.rest_api_id)


def test_old_deployments_of_the_stage_do_not_pile_up(gateway: APIGatewayClient, home: Path) -> None:
    record = read_deployment("radgate-local")
    assert record is not None
    for _ in range(12):
        gateway.create_deployment(restApiId=record.rest_api_id, stageName=record.api_stage)
    deploy(home)
    assert len(gateway.get_deployments(restApiId=record.rest_api_id, limit=500)["items"]) <= 10


def test_what_a_function_is_told_names_this_stage_alone(home: Path) -> None:
    facts = boto3.client("lambda").get_function_configuration(FunctionName="radgate-local")
    variables: dict[str, Any] = dict(facts["Environment"]["Variables"])
    found = read_foundation("local")
    assert variables["RADGATE_STAGE"] == "local"
    assert variables["RADGATE_TABLE"] == found.TableName
    assert variables["RADGATE_BUCKET"] == found.BucketName
    assert variables["MODEL_DIR"] == str(home / "models")
    assert not any(name.startswith("AWS_ENDPOINT") for name in variables)
    assert facts["MemorySize"] >= 1769
    assert facts["Timeout"] >= 29


def test_the_zip_needs_nothing_of_this_environment_to_start(home: Path, tmp_path: Path) -> None:
    """The local functions see our site-packages; Lambda has only the zip (and boto3)."""
    (package,) = (home / "build" / "local" / ".chalice" / "deployments").glob("*.zip")
    assert package.stat().st_size < 50e6  # what Lambda takes as a direct upload
    with zipfile.ZipFile(package) as archive:
        assert sum(entry.file_size for entry in archive.infolist()) < 250e6
        archive.extractall(tmp_path)
    subprocess.run(
        # Isolated and without site: the standard library, the zip, nothing else.
        [sys.executable, "-I", "-S", "-c", START, str(tmp_path)],
        check=True,
        timeout=60,
        env={},
    )


def assert_problems(gateway: APIGatewayClient, api_id: str) -> None:
    """Every refusal of ours stands at the gateway, whole."""
    for kinds, problem in REFUSALS:
        for kind in kinds:
            found = gateway.get_gateway_response(restApiId=api_id, responseType=kind)
            body = json.loads(found["responseTemplates"]["application/json"])
            assert set(body) == PROBLEM
            assert body["request_id"] == "$context.requestId"
            assert (body["status"], found["statusCode"]) == (problem.status, str(problem.status))
            headers = found["responseParameters"]
            assert headers["gatewayresponse.header.Content-Type"] == "'application/problem+json'"
            assert headers["gatewayresponse.header.Cache-Control"] == "'no-store'"
            wants_retry = problem.status in {429, 503}
            assert ("gatewayresponse.header.Retry-After" in headers) is wants_retry
