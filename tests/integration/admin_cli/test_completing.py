"""What a deploy does beyond Chalice: mounts, log groups, settings; each done once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from admin_cli.deploying.api_settings import ACCESS_LOG, api_patches, apply_api_settings
from admin_cli.deploying.deployment_record import Deployment
from admin_cli.deploying.log_groups import keep_logs
from admin_cli.deploying.mounting import mount, unmounted
from admin_cli.deploying.stage_settings import StageSettings
from admin_cli.gateway import Gateway
from admin_cli.tenants.plan_coverage import cover_plans, uncovered
from tests.integration.admin_cli.conftest import make_functions
from tests.local_aws import own_local_aws
from tests.unit.test_policies import foundation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGION = "eu-central-1"
ACCESS_POINT = (
    f"arn:aws:elasticfilesystem:{REGION}:111122223333:access-point/fsap-0123456789abcdef0"
)
FUNCTIONS = {
    "api_handler": "radgate-dev",
    "worker": "radgate-dev-worker",
    "deliver": "radgate-dev-deliver",
}
FOUNDATION = foundation("dev").model_copy(
    update={
        "AccessPointArn": ACCESS_POINT,
        "ApiLogArn": f"arn:aws:logs:{REGION}:111122223333:log-group:/radgate/dev/api:*",
        "ApiLogRoleArn": "arn:aws:iam::111122223333:role/api-logs",
        "KeyArn": f"arn:aws:kms:{REGION}:111122223333:key/1",
    }
)


@pytest.fixture(autouse=True)
def local_aws(tmp_path: Path) -> Iterator[None]:
    """The local AWS: the other simulation forgets mounts and cannot encrypt log groups."""
    with own_local_aws(tmp_path):
        yield


@pytest.fixture
def functions() -> dict[str, str]:
    """Three functions as Chalice leaves them."""
    make_functions(FUNCTIONS.values())
    return FUNCTIONS


def mounts(name: str) -> list[dict[str, Any]]:
    found = boto3.client("lambda").get_function_configuration(FunctionName=name)
    return [dict(one) for one in found.get("FileSystemConfigs", [])]


def test_functions_that_read_models_are_mounted_once_and_no_other(
    functions: dict[str, str],
) -> None:
    client, told = boto3.client("lambda"), list[str]()
    mount(client, functions, FOUNDATION, told.append)
    wanted = [{"Arn": ACCESS_POINT, "LocalMountPath": "/mnt/models"}]
    assert mounts("radgate-dev") == mounts("radgate-dev-worker") == wanted
    assert mounts("radgate-dev-deliver") == []
    assert len(told) == 2
    mount(client, functions, FOUNDATION, told.append)
    assert len(told) == 2


def test_another_file_system_is_replaced(functions: dict[str, str]) -> None:
    client = boto3.client("lambda")
    mount(client, functions, FOUNDATION, lambda _text: None)
    other = FOUNDATION.model_copy(update={"AccessPointArn": f"{ACCESS_POINT[:-1]}1"})
    assert list(unmounted(client, functions, other)) == ["radgate-dev", "radgate-dev-worker"]
    mount(client, functions, other, lambda _text: None)
    assert [one["Arn"] for one in mounts("radgate-dev")] == [other.AccessPointArn]


def test_without_a_file_system_nothing_is_mounted(functions: dict[str, str]) -> None:
    mount(boto3.client("lambda"), functions, foundation("dev"), pytest.fail)
    assert mounts("radgate-dev") == []


def groups() -> dict[str, dict[str, Any]]:
    found = boto3.client("logs").describe_log_groups()["logGroups"]
    return {group["logGroupName"]: dict(group) for group in found}


def test_log_groups_end_and_are_encrypted() -> None:
    client, told = boto3.client("logs"), list[str]()
    client.create_log_group(logGroupName="/aws/lambda/radgate-dev-worker-of-another-kind")
    for _ in range(2):
        keep_logs(client, FUNCTIONS.values(), 30, FOUNDATION.KeyArn, told.append)
    made = groups()
    assert "retentionInDays" not in made.pop("/aws/lambda/radgate-dev-worker-of-another-kind")
    assert set(made) == {f"/aws/lambda/{name}" for name in FUNCTIONS.values()}
    for group in made.values():
        assert (group["retentionInDays"], group["kmsKeyId"]) == (30, FOUNDATION.KeyArn)
    assert len(told) == 3
    keep_logs(client, FUNCTIONS.values(), 7, FOUNDATION.KeyArn, told.append)
    assert groups()["/aws/lambda/radgate-dev"]["retentionInDays"] == 7


def test_a_group_that_lambda_made_is_encrypted_too() -> None:
    """Neither simulation knows this call."""
    client = boto3.client("logs")
    name = "/aws/lambda/radgate-dev"
    with Stubber(client) as calls:
        calls.add_response(
            "describe_log_groups",
            {"logGroups": [{"logGroupName": name, "retentionInDays": 30}]},
            {"logGroupNamePrefix": name},
        )
        wanted = {"logGroupName": name, "kmsKeyId": FOUNDATION.KeyArn}
        calls.add_response("associate_kms_key", {}, wanted)
        keep_logs(client, ["radgate-dev"], 30, FOUNDATION.KeyArn, pytest.fail)
        calls.assert_no_pending_responses()


@pytest.fixture
def api() -> str:
    """An API as Chalice leaves it."""
    client = boto3.client("apigateway")
    api_id = client.create_rest_api(name="radgate", binaryMediaTypes=["*/*"])["id"]
    root = client.get_resources(restApiId=api_id)["items"][0]["id"]
    where = {"restApiId": api_id, "resourceId": root, "httpMethod": "GET"}
    client.put_method(**where, authorizationType="NONE")  # type: ignore[arg-type]
    client.put_integration(**where, type="MOCK")  # type: ignore[arg-type]
    client.create_deployment(restApiId=api_id, stageName="v1")
    return api_id


def test_the_api_gets_its_settings_once(api: str) -> None:
    client = boto3.client("apigateway")
    settings = StageSettings.model_validate(
        {"throttle": {"rate_per_second": 50, "burst": 100}, "xray": True}
    )
    arguments = (client, api, "dev", settings, FOUNDATION)
    assert apply_api_settings(*arguments)
    stage = client.get_stage(restApiId=api, stageName="v1")
    every = stage["methodSettings"]["*/*"]
    assert (every["throttlingRateLimit"], every["throttlingBurstLimit"]) == (50, 100)
    assert stage["tracingEnabled"]
    log = stage["accessLogSettings"]
    assert log["destinationArn"] == FOUNDATION.ApiLogArn.removesuffix(":*")
    assert log["format"] == ACCESS_LOG
    assert client.get_rest_api(restApiId=api)["name"] == "radgate-dev"
    assert client.get_account()["cloudwatchRoleArn"] == FOUNDATION.ApiLogRoleArn
    assert api_patches(*arguments) == ([], [])
    assert not apply_api_settings(*arguments)


def test_another_products_log_role_is_left_in_place(api: str) -> None:
    client = boto3.client("apigateway")
    other = "arn:aws:iam::111122223333:role/other"
    client.update_account(
        patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": other}]
    )
    assert apply_api_settings(client, api, "dev", StageSettings(), FOUNDATION)
    assert client.get_account()["cloudwatchRoleArn"] == other


def test_an_api_that_is_gone_is_told() -> None:
    with pytest.raises(ClientError, match="NotFoundException"):
        apply_api_settings(boto3.client("apigateway"), "none", "dev", StageSettings(), FOUNDATION)


def test_the_access_log_holds_no_key_no_path_and_no_address() -> None:
    line = json.loads(ACCESS_LOG)
    told = set(line.values())
    assert all(value.startswith("$context.") for value in told)
    assert not told & {
        "$context.identity.apiKey",
        "$context.path",
        "$context.identity.sourceIp",
        "$context.identity.userAgent",
    }
    assert line["key_id"] == "$context.identity.apiKeyId"


def test_plans_are_put_onto_an_api_that_was_made_anew(api: str) -> None:
    client, told = boto3.client("apigateway"), list[str]()
    old = client.create_rest_api(name="radgate")["id"]
    made = Deployment(api, "v1", "https://api.example", "", "", "", "")
    for name, stages in (("radgate-dev-a", [(old, "v1")]), ("radgate-dev-b", [(api, "v1")])):
        client.create_usage_plan(
            name=name, apiStages=[{"apiId": one, "stage": stage} for one, stage in stages]
        )

    gateway = Gateway(client, "dev", api, "v1")
    cover_plans(gateway, gateway.usage_plans(), made, told.append)
    assert told == ["usage plan radgate-dev-a covers the API"]
    assert list(uncovered(gateway.usage_plans(), (api, "v1"))) == []
    cover_plans(gateway, gateway.usage_plans(), made, pytest.fail)
