"""A function with an API in front of it on the local AWS, for tests of what keeps it warm."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import boto3

from admin_cli import emulator
from admin_cli.deploying.api_routes import ALIAS
from admin_cli.deploying.keeping_warm import Schedule
from admin_cli.deploying.provisioning import Entrance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


@contextmanager
def place(home: Path) -> Iterator[dict[str, Any]]:
    """Start a local AWS, as moto knows nothing of provisioned concurrency; yield where it is."""
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


def make_stage(place: dict[str, Any]) -> Stage:
    """Make a function of a name of its own, and its API."""
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
