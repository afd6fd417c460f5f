"""Which functions are in the network, and what they may do there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from admin_cli.deploying.stage_config import ON_EFS, configure, function_name, permit
from admin_cli.deploying.stage_settings import StageSettings
from tests.unit.reach import handlers, reached
from tests.unit.test_policies import foundation

CONFIG = json.loads(
    (Path(__file__).parents[3] / ".chalice" / "config.json").read_text(encoding="utf-8")
)
IN_NETWORK = foundation("dev").model_copy(
    update={
        "FunctionSubnetA": "subnet-a",
        "FunctionSubnetB": "subnet-b",
        "FunctionSecurityGroupId": "sg-1",
    }
)
EMPTY: dict[str, Any] = {"Version": "2012-10-17", "Statement": []}


def configured(**fields: Any) -> dict[str, Any]:
    settings = StageSettings.model_validate(fields)
    return dict(configure(CONFIG, "dev", settings, IN_NETWORK)["stages"]["dev"])


def test_only_functions_on_efs_are_in_the_network() -> None:
    functions = configured()["lambda_functions"]
    inside = {name for name, fields in functions.items() if fields.get("subnet_ids")}
    assert inside == ON_EFS
    for name in inside:
        assert functions[name]["subnet_ids"] == ["subnet-a", "subnet-b"]
        assert functions[name]["security_group_ids"] == ["sg-1"]
        assert functions[name]["iam_policy_file"] == f"policy-dev-{name}.json"
    assert "subnet_ids" not in configured()


def test_without_a_network_nothing_is_added() -> None:
    made = configure(CONFIG, "local", StageSettings(network="none"), foundation("local"))
    functions = made["stages"]["local"]["lambda_functions"]
    assert functions == CONFIG["stages"]["local"]["lambda_functions"]


def test_other_stages_are_left_as_they_are() -> None:
    made = configure(CONFIG, "dev", StageSettings(), IN_NETWORK)["stages"]
    assert {name: made[name] for name in ("local", "prod")} == {
        name: CONFIG["stages"][name] for name in ("local", "prod")
    }


def test_endpoint_domain_and_compression_become_chalices() -> None:
    private = configured(endpoint="private", vpc_endpoints=["vpce-0123abcd"], compress_from=0)
    assert private["api_gateway_endpoint_type"] == "PRIVATE"
    assert private["api_gateway_endpoint_vpce"] == ["vpce-0123abcd"]
    assert private["minimum_compression_size"] == 0
    certificate = "arn:aws:acm:us-east-1:111122223333:certificate/abc"
    edge = configured(
        endpoint="edge",
        domain={"name": "api.example.org", "certificate_arn": certificate},
        xray=True,
        api_stage="v2",
    )
    assert edge["api_gateway_endpoint_type"] == "EDGE"
    assert edge["api_gateway_custom_domain"] == {
        "domain_name": "api.example.org",
        "certificate_arn": certificate,
        "tls_version": "TLS_1_2",
        "url_prefix": "(none)",
    }
    assert edge["xray"] is True
    assert edge["api_gateway_stage"] == "v2"


@pytest.mark.parametrize("function", handlers())
def test_a_function_is_in_the_network_when_its_code_comes_to_the_mount(function: str) -> None:
    """A model, or the packages it needs; whoever comes to neither must stay outside."""
    modules = {code.module for code in reached(function)}
    on_mount = {
        m for m in modules if m.startswith(("chalicelib.inference.", "chalicelib.runtime."))
    }
    assert (function in ON_EFS) is bool(on_mount)


def permitted(name: str, **fields: Any) -> list[dict[str, Any]]:
    settings = StageSettings.model_validate(fields)
    return list(permit(EMPTY, "dev", name, settings, IN_NETWORK)["Statement"])


def test_lambda_may_make_network_interfaces_and_the_code_may_not() -> None:
    allow, deny = permitted("worker")
    assert (allow["Effect"], deny["Effect"]) == ("Allow", "Deny")
    assert allow["Action"] == deny["Action"]
    assert all(action.startswith("ec2:") and "*" not in action for action in allow["Action"])
    arn = "arn:aws:lambda:eu-central-1:111122223333:function:radgate-dev-worker"
    assert deny["Condition"] == {"ArnEquals": {"lambda:SourceFunctionArn": arn}}


def test_outside_of_the_network_a_policy_stays_as_it_was_written() -> None:
    assert permitted("deliver") == []
    assert permit(EMPTY, "dev", "worker", StageSettings(), foundation("dev")) == EMPTY


def test_tracing_is_permitted_where_it_is_wanted() -> None:
    [statement] = permitted("deliver", xray=True)
    assert statement["Action"] == ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]


def test_names_on_aws() -> None:
    assert function_name("dev", "api_handler") == "radgate-dev"
    assert function_name("dev", "worker") == "radgate-dev-worker"
    assert set(handlers()) <= set(CONFIG["stages"]["dev"]["lambda_functions"])
