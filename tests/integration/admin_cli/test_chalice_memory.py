"""`chalice delete` is given what is there and is the stage's own, over moto."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from admin_cli.deploying.chalice_memory import forget_gone, is_shared

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("account")

NAME = "radgate-dev-worker"
DOMAIN = "api.example.org"


def stage() -> list[dict[str, Any]]:
    """Make one of everything that Chalice makes; return what it remembers of that."""
    role = boto3.client("iam").create_role(RoleName=NAME, AssumeRolePolicyDocument="{}")["Role"]
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", "")
    function = boto3.client("lambda").create_function(
        FunctionName=NAME,
        Runtime="python3.12",
        Handler="app.app",
        Role=role["Arn"],
        Code={"ZipFile": code.getvalue()},
    )
    boto3.client("events").put_rule(Name="sweep", ScheduleExpression="rate(1 minute)")
    domain = {"name": "api_gateway_custom_domain", "resource_type": "domain_name"}
    return [
        {"name": "worker_role", "resource_type": "iam_role", "role_name": NAME},
        {
            "name": "worker",
            "resource_type": "lambda_function",
            "lambda_arn": function["FunctionArn"],
        },
        {"name": "sweep-event", "resource_type": "cloudwatch_event", "rule_name": "sweep"},
        {"name": "rest_api", "resource_type": "rest_api", "rest_api_id": mapped("(none)")},
        {**domain, "domain_name": DOMAIN},
    ]


def mapped(path: str) -> str:
    """Make an API that answers at the domain; return its id."""
    client = boto3.client("apigateway")
    if not client.get_domain_names()["items"]:
        client.create_domain_name(domainName=DOMAIN, securityPolicy="TLS_1_2")
    api = client.create_rest_api(name="radgate")["id"]
    root = client.get_resources(restApiId=api)["items"][0]["id"]
    place = {"restApiId": api, "resourceId": root, "httpMethod": "GET"}
    client.put_method(**place, authorizationType="NONE")  # type: ignore[arg-type]
    client.put_integration(**place, type="MOCK")  # type: ignore[arg-type]
    client.create_deployment(restApiId=api, stageName="v1")
    client.create_base_path_mapping(domainName=DOMAIN, basePath=path, restApiId=api, stage="v1")
    return api


def remembered(tmp_path: Path, resources: list[dict[str, Any]], *spared: str) -> list[str]:
    """Return the names of what `chalice delete` would meet."""
    memory = tmp_path / "dev.json"
    memory.write_text(json.dumps({"resources": resources, "schema_version": "2.0"}))
    left = forget_gone(memory, spared)
    document = json.loads(memory.read_text(encoding="utf-8"))
    assert document["schema_version"] == "2.0"
    assert bool(document["resources"]) is left
    return [one["name"] for one in document["resources"]]


def test_what_is_there_is_left_to_chalice_but_for_the_roles_that_wait(tmp_path: Path) -> None:
    resources = stage()
    names = [one["name"] for one in resources]
    assert remembered(tmp_path, resources) == names
    assert remembered(tmp_path, resources, NAME) == names[1:]


def test_what_is_gone_is_forgotten_one_after_the_other(tmp_path: Path) -> None:
    resources = stage()
    names = [one["name"] for one in resources]
    api = resources[3]["rest_api_id"]
    removals = (
        lambda: boto3.client("apigateway").delete_domain_name(domainName=DOMAIN),
        lambda: boto3.client("apigateway").delete_rest_api(restApiId=api),
        lambda: boto3.client("events").delete_rule(Name="sweep"),
        lambda: boto3.client("lambda").delete_function(FunctionName=NAME),
        lambda: boto3.client("iam").delete_role(RoleName=NAME),
    )
    for remove in removals:
        remove()
        names.pop()
        assert remembered(tmp_path, resources) == names


def test_a_domain_where_another_stage_answers_stays_there(tmp_path: Path) -> None:
    resources = stage()
    own = resources[3]["rest_api_id"]
    assert not is_shared(DOMAIN, own)
    other = mapped("other")
    assert is_shared(DOMAIN, own)
    for _ in range(2):
        assert "api_gateway_custom_domain" not in remembered(tmp_path, resources)
        found = boto3.client("apigateway").get_base_path_mappings(domainName=DOMAIN)["items"]
        assert [(one.get("basePath"), one.get("restApiId")) for one in found] == [("other", other)]
