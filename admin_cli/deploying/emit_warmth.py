"""Provisioned concurrency and the warm-up in the emitted template, as a deploy makes them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from admin_cli.deploying.api_routes import ALIAS
from admin_cli.deploying.keeping_warm import rate, rule_name
from chalicelib.services.warming import WARM_UP

if TYPE_CHECKING:
    from admin_cli.deploying.stage_settings import StageSettings

_FUNCTION = "APIHandler"
_PERMISSION = "APIHandlerInvokePermission"
_LIVE = "APIHandlerLive"


def put_warmth(resources: dict[str, Any], stage: str, settings: StageSettings, code: bytes) -> None:
    """Put version, alias and schedule into the template's resources, where they are wanted.

    `code`: what decides that there is a new version, besides the function's configuration.
    """
    place = _FUNCTION
    if settings.provisioned_concurrency:
        _keep_ready(resources, settings.provisioned_concurrency, code)
        place = _LIVE
    if settings.warm_every_minutes:
        arn = {"Ref": _LIVE} if place == _LIVE else {"Fn::GetAtt": [_FUNCTION, "Arn"]}
        _schedule(resources, stage, settings.warm_every_minutes, place, arn)


def _keep_ready(resources: dict[str, Any], count: int, code: bytes) -> None:
    function = json.dumps(resources[_FUNCTION]["Properties"], sort_keys=True).encode()
    # A version never changes: whatever would change it has to make another.
    version = f"{_FUNCTION}Version{hashlib.sha256(code + function).hexdigest()[:12]}"
    resources[version] = {
        "Type": "AWS::Lambda::Version",
        "Properties": {"FunctionName": {"Ref": _FUNCTION}},
    }
    resources[_LIVE] = {
        "Type": "AWS::Lambda::Alias",
        "Properties": {
            "Name": ALIAS,
            "FunctionName": {"Ref": _FUNCTION},
            "FunctionVersion": {"Fn::GetAtt": [version, "Version"]},
            "ProvisionedConcurrencyConfig": {"ProvisionedConcurrentExecutions": count},
        },
    }
    resources[_PERMISSION]["Properties"]["FunctionName"] = {"Ref": _LIVE}
    body = resources["RestAPI"]["Properties"]["DefinitionBody"]
    for item in body["paths"].values():
        for method in item.values():
            integration = method.get("x-amazon-apigateway-integration", {})
            if text := integration.get("uri", {}).get("Fn::Sub"):
                text = text.replace(f"${{{_FUNCTION}.Arn}}", f"${{{_LIVE}}}")
                integration["uri"] = {"Fn::Sub": text}


def _schedule(
    resources: dict[str, Any], stage: str, minutes: int, place: str, arn: dict[str, Any]
) -> None:
    resources["WarmUp"] = {
        "Type": "AWS::Events::Rule",
        "Properties": {
            "Name": rule_name(stage),
            "Description": "Keeps a process with its model loaded.",
            "ScheduleExpression": rate(minutes),
            "State": "ENABLED",
            "Targets": [{"Id": "api", "Arn": arn, "Input": json.dumps(WARM_UP)}],
        },
    }
    resources["WarmUpPermission"] = {
        "Type": "AWS::Lambda::Permission",
        "Properties": {
            "FunctionName": {"Ref": place},
            "Action": "lambda:InvokeFunction",
            "Principal": "events.amazonaws.com",
            "SourceArn": {"Fn::GetAtt": ["WarmUp", "Arn"]},
        },
    }
