"""Chalice's configuration of one stage: `.chalice/config.json` and what `stages.toml` adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from admin_cli.deploying.stage_settings import StageSettings
    from admin_cli.foundation import Foundation

APP = "radgate"
# Functions that load a model or install one. Only these are in the network: what is in it reaches
# no address outside of AWS, and webhooks go to such addresses.
ON_EFS = frozenset({"api_handler", "worker", "efs_sync"})
TRACING = {
    "Sid": "Tracing",
    "Effect": "Allow",
    "Action": ["xray:PutTelemetryRecords", "xray:PutTraceSegments"],
    "Resource": "*",  # X-Ray knows no resources for these
}
_INTERFACE_ACTIONS = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
]


def function_name(stage: str, name: str) -> str:
    """What Chalice calls a function on AWS; `name` is its name in config.json."""
    return f"{APP}-{stage}" if name == "api_handler" else f"{APP}-{stage}-{name}"


def configure(
    config: dict[str, Any], stage: str, settings: StageSettings, foundation: Foundation
) -> dict[str, Any]:
    """Return Chalice's configuration with the stage's settings put in."""
    own = dict(config.get("stages", {}).get(stage, {}))
    own["api_gateway_stage"] = settings.api_stage
    own["api_gateway_endpoint_type"] = settings.endpoint.upper()
    own["minimum_compression_size"] = settings.compress_from
    own["xray"] = settings.xray
    if settings.xray:
        own["environment_variables"] = {
            **own.get("environment_variables", {}),
            "RADGATE_TRACING": "1",
        }
    if settings.vpc_endpoints:
        own["api_gateway_endpoint_vpce"] = list(settings.vpc_endpoints)
    if settings.domain is not None:
        own["api_gateway_custom_domain"] = {
            "domain_name": settings.domain.name,
            "certificate_arn": settings.domain.certificate_arn,
            "tls_version": "TLS_1_2",
            "url_prefix": settings.domain.path,
        }
    if foundation.FunctionSubnetA:
        functions = dict(own.get("lambda_functions", {}))
        for name in sorted(ON_EFS):
            functions[name] = {
                **functions.get(name, {}),
                "subnet_ids": [foundation.FunctionSubnetA, foundation.FunctionSubnetB],
                "security_group_ids": [foundation.FunctionSecurityGroupId],
            }
        own["lambda_functions"] = functions
    return {**config, "stages": {**config.get("stages", {}), stage: own}}


def permit(
    policy: dict[str, Any], stage: str, name: str, settings: StageSettings, foundation: Foundation
) -> dict[str, Any]:
    """Return the policy of a function with what its network and tracing need, where it has them."""
    needed: list[dict[str, Any]] = []
    if foundation.FunctionSubnetA and name in ON_EFS:
        needed += _network_interfaces(function_name(stage, name), foundation)
    if settings.xray:
        needed.append(TRACING)
    return {**policy, "Statement": [*policy.get("Statement", []), *needed]} if needed else policy


def _network_interfaces(function: str, foundation: Foundation) -> list[dict[str, Any]]:
    """Let Lambda, and not the code that runs in it, make the function's network interfaces.

    Lambda does so with the function's own role, and the actions know no resource that exists
    beforehand; only calls that the code itself makes carry the function's ARN.
    """
    where = f"{foundation.region}:{foundation.account}:function:{function}"
    arn = f"arn:{foundation.partition}:lambda:{where}"
    every: dict[str, Any] = {"Action": _INTERFACE_ACTIONS, "Resource": "*"}
    condition = {"ArnEquals": {"lambda:SourceFunctionArn": arn}}
    return [
        {"Sid": "NetworkInterfaces", "Effect": "Allow", **every},
        {"Sid": "NotByTheCode", "Effect": "Deny", **every, "Condition": condition},
    ]
