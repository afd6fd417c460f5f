"""What keeps the API warm is made, found again, changed and removed."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from admin_cli import emulator
from admin_cli.deploying.keeping_warm import Schedule
from admin_cli.deploying.provisioning import ALIAS, Entrance
from chalicelib.services.warming import WARM_UP

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBERS = count(1)
ROLE = {"Version": "2012-10-17", "Statement": []}


def zipped(text: str) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("app.py", text)
        return file.getvalue()


@dataclass
class Stage:
    """A function with an API in front of it, as `chalice deploy` leaves them."""

    functions: Any
    gateway: Any
    events: Any
    entrance: Entrance

    def schedule(self, minutes: int, *, alias: bool = False) -> Schedule:
        return Schedule(
            self.events,
            self.functions,
            self.function.removeprefix("radgate-"),
            self.function,
            minutes,
            alias=alias,
        )

    @property
    def function(self) -> str:
        return self.entrance.function

    def target(self) -> str:
        """Return the function that the API leads to, with its alias."""
        resources = self.gateway.get_resources(
            restApiId=self.entrance.rest_api_id, embed=["methods"]
        )
        [uri] = {
            method["methodIntegration"]["uri"]
            for one in resources["items"]
            for method in one.get("resourceMethods", {}).values()
        }
        return str(uri).rpartition(":function:")[2].removesuffix("/invocations")

    def versions(self) -> list[str]:
        found = self.functions.list_versions_by_function(FunctionName=self.function)["Versions"]
        return [one["Version"] for one in found if one["Version"] != "$LATEST"]

    def alias(self) -> str | None:
        found = self.functions.list_aliases(FunctionName=self.function)["Aliases"]
        return next((one["FunctionVersion"] for one in found if one["Name"] == ALIAS), None)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where a local AWS answers; moto knows nothing of provisioned concurrency."""
    home = tmp_path_factory.mktemp("warmth")
    found = emulator.start(home)
    try:
        yield {
            "endpoint_url": found.url,
            "region_name": emulator.REGION,
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
        }
    finally:
        emulator.stop(home)


@pytest.fixture
def stage(place: dict[str, Any]) -> Stage:
    name = f"radgate-t{next(NUMBERS)}"
    role = boto3.client("iam", **place).create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps(ROLE)
    )
    functions = boto3.client("lambda", **place)
    made = functions.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role=role["Role"]["Arn"],
        Handler="app.app",
        Code={"ZipFile": zipped("one")},
    )
    gateway = boto3.client("apigateway", **place)
    api = gateway.create_rest_api(name=name)["id"]
    [root] = gateway.get_resources(restApiId=api)["items"]
    for verb in ("GET", "POST"):
        gateway.put_method(
            restApiId=api, resourceId=root["id"], httpMethod=verb, authorizationType="NONE"
        )
        arn = made["FunctionArn"]
        uri = f"arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/{arn}"
        gateway.put_integration(
            restApiId=api,
            resourceId=root["id"],
            httpMethod=verb,
            type="AWS_PROXY",
            integrationHttpMethod="POST",
            uri=f"{uri}/invocations",
        )
    gateway.create_deployment(restApiId=api, stageName="v1")
    entrance = Entrance(functions, gateway, name, api, "v1", 2)
    return Stage(functions, gateway, boto3.client("events", **place), entrance)


def test_processes_are_kept_ready_behind_an_alias(stage: Stage) -> None:
    told: list[str] = []
    assert len(list(stage.entrance.differences())) == 3
    deployment = stage.entrance.apply(told.append)
    live = stage.gateway.get_stage(restApiId=stage.entrance.rest_api_id, stageName="v1")
    assert live["deploymentId"] == deployment
    assert (stage.target(), stage.alias()) == (f"{stage.function}:{ALIAS}", "1")
    found = stage.functions.get_provisioned_concurrency_config(
        FunctionName=stage.function, Qualifier=ALIAS
    )
    assert found["RequestedProvisionedConcurrentExecutions"] == 2
    policy = stage.functions.get_policy(FunctionName=stage.function, Qualifier=ALIAS)["Policy"]
    assert f":{stage.entrance.rest_api_id}/*" in policy
    assert told


def test_twice_is_once(stage: Stage) -> None:
    stage.entrance.apply(lambda _: None)
    told: list[str] = []
    assert stage.entrance.apply(told.append) is None
    assert (told, list(stage.entrance.differences()), stage.versions()) == ([], [], ["1"])


def test_new_code_moves_the_alias_and_old_versions_go(stage: Stage) -> None:
    stage.entrance.apply(lambda _: None)
    for number in ("two", "three", "four"):
        stage.functions.update_function_code(FunctionName=stage.function, ZipFile=zipped(number))
        assert list(stage.entrance.differences()) == [f"version of function {stage.function}"]
        stage.entrance.apply(lambda _: None)
    assert stage.alias() == "4"
    assert stage.versions() == ["3", "4"]


def test_configured_away_nothing_is_left(stage: Stage) -> None:
    stage.entrance.apply(lambda _: None)
    without = replace(stage.entrance, wanted=0)
    assert list(without.differences())
    assert without.apply(lambda _: None) is not None
    assert (stage.target(), stage.alias(), stage.versions()) == (stage.function, None, [])
    assert without.apply(lambda _: None) is None
    assert list(without.differences()) == []


def test_a_schedule_comes_changes_and_goes(stage: Stage) -> None:
    stage.schedule(5).apply(lambda _: None)
    assert list(stage.schedule(5).differences()) == []
    assert list(stage.schedule(1).differences()) != []
    rule = stage.events.describe_rule(Name=f"{stage.function}-warm")
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(5 minutes)", "ENABLED")
    [target] = stage.events.list_targets_by_rule(Rule=f"{stage.function}-warm")["Targets"]
    assert json.loads(target["Input"]) == WARM_UP
    assert target["Arn"].endswith(f":function:{stage.function}")
    policy = json.loads(stage.functions.get_policy(FunctionName=stage.function)["Policy"])
    [statement] = policy["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    stage.schedule(0).apply(lambda _: None)
    names = {one["Name"] for one in stage.events.list_rules()["Rules"]}
    assert f"{stage.function}-warm" not in names
    assert not stage.schedule(0).remove()
