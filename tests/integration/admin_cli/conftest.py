"""A deployed stage on moto, and collaborators that die or dawdle at a chosen step."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from moto import mock_aws

from admin_cli.gateway import Gateway
from admin_cli.tenants.accounts import Accounts
from admin_cli.tenants.keyring import Keyring
from admin_cli.tenants.registry import Registry
from chalicelib.tenants.audit import Trail
from chalicelib.tenants.audit_check import verify
from tests.fakes.clock import FixedClock
from tests.fakes.values import NOON, a_plan
from tests.integration.tenants.conftest import make_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.domain import Plan
    from chalicelib.tenants.audit import AuditEntry

PLANS = {"clinic": a_plan(), "trial": a_plan(10, name="trial", title="Trial")}


class Killed(BaseException):
    """Stands for a process that ends here: no handler of the code under test may catch it."""


@dataclass
class Fuse:
    """Lets `calls` calls through and then ends the process."""

    calls: int
    made: list[str] = field(default_factory=list)

    def burn(self, name: str) -> None:
        if len(self.made) == self.calls:
            raise Killed(name)
        self.made.append(name)


class Fused:
    """A collaborator whose every public call burns the fuse first."""

    def __init__(self, target: object, fuse: Fuse) -> None:
        self._target = target
        self._fuse = fuse

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._target, name)

        def call(*args: Any, **named: Any) -> Any:
            self._fuse.burn(name)
            return method(*args, **named)

        return call


@dataclass
class World:
    """A stage with a table and a deployed API; `registry` opens it anew, like a new process."""

    table: Table
    apigateway: APIGatewayClient
    rest_api_id: str
    clock: FixedClock

    @property
    def trail(self) -> Trail:
        return Trail(self.table, lambda: "local:tester", self.clock, pause=self.clock.advance)

    @property
    def accounts(self) -> Accounts:
        return Accounts(self.table, self.trail)

    @property
    def keyring(self) -> Keyring:
        return Keyring(self.table, self.trail)

    @property
    def gateway(self) -> Gateway:
        return Gateway(self.apigateway, "test", self.rest_api_id, "v1")

    def registry(
        self,
        *,
        fuse: Fuse | None = None,
        accounts: Accounts | None = None,
        keyring: Keyring | None = None,
        gateway: Gateway | None = None,
        plans: dict[str, Plan] | None = None,
    ) -> Registry:
        accounts, keyring = accounts or self.accounts, keyring or self.keyring
        gateway = gateway or self.gateway
        if fuse is not None:
            accounts = cast("Accounts", Fused(accounts, fuse))
            keyring = cast("Keyring", Fused(keyring, fuse))
            gateway = cast("Gateway", Fused(gateway, fuse))
        return Registry(accounts, keyring, gateway, plans or PLANS, self.clock)

    def audited(self) -> list[AuditEntry]:
        """Return the whole audit trail, oldest first, once its chain was checked."""
        verdict = verify(self.table.name, self.trail.head, self.trail.records)
        assert verdict.broken is None
        return list(self.trail.latest(10_000))[::-1]

    def plans_in_gateway(self) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", self.apigateway.get_usage_plans()["items"])

    def keys_in_gateway(self) -> dict[str, str]:
        """Return names and values of all API keys."""
        items = self.apigateway.get_api_keys(includeValues=True)["items"]
        return {item["name"]: item["value"] for item in items}

    def admitted(self) -> set[str]:
        """Return the values of all keys that some usage plan of the API lets in."""
        api = {"apiId": self.rest_api_id, "stage": "v1"}
        return {
            key["value"]
            for plan in self.plans_in_gateway()
            if api in plan.get("apiStages", [])
            for key in self.apigateway.get_usage_plan_keys(usagePlanId=plan["id"])["items"]
            # AWS takes a deleted key out of its plan, moto leaves it in.
            if key["name"] in self.keys_in_gateway()
        }

    def records(self, prefix: str) -> list[str]:
        """Return the sort keys in all partitions that begin with `prefix`."""
        items = self.table.scan(ConsistentRead=True)["Items"]
        return sorted(str(one["sk"]) for one in items if str(one["pk"]).startswith(prefix))


def make_api() -> tuple[APIGatewayClient, str]:
    """Deploy a REST API as stage v1; return the client and the API's id."""
    apigateway: APIGatewayClient = boto3.client("apigateway", region_name="eu-central-1")
    api = apigateway.create_rest_api(name="radgate")["id"]
    root = apigateway.get_resources(restApiId=api)["items"][0]["id"]
    where: dict[str, Any] = {"restApiId": api, "resourceId": root, "httpMethod": "GET"}
    apigateway.put_method(**where, authorizationType="NONE", apiKeyRequired=True)
    apigateway.put_integration(**where, type="MOCK")
    apigateway.create_deployment(restApiId=api, stageName="v1")
    return apigateway, api


def make_functions(names: Iterable[str]) -> None:
    """Make functions as Chalice leaves them."""
    role = boto3.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", "")
    for name in names:
        boto3.client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.12",
            Handler="app.app",
            Role=role["Role"]["Arn"],
            Code={"ZipFile": code.getvalue()},
        )


@pytest.fixture
def world() -> Iterator[World]:
    with mock_aws():
        yield World(make_table(), *make_api(), FixedClock(NOON))
