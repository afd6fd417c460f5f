"""The role that API Gateway writes logs with, entered by the emitted template where there is none.

API Gateway has one for the whole account and Region, and makes no stage with an access log without
it. A template cannot ask whether there is one, so whoever deploys it says so by a parameter.
"""

from __future__ import annotations

from typing import Any

PARAMETER = "ApiLogRoleMissing"
ACCOUNT = "ApiGatewayAccount"
_ROLE = "ApiLogRole"
_API = "RestAPI"
_CONDITION = "EntersApiLogRole"


def put_account(template: dict[str, Any]) -> dict[str, Any]:
    """Return the settled template with the account's setting, which the stage waits for.

    Unchanged where the foundation has no such role, as on stage local.
    """
    resources = template["Resources"]
    if _ROLE not in resources:
        return template
    api = resources[_API]
    log = api["Properties"]["AccessLogSetting"]
    # A reference makes the stage wait, also where a condition may leave nothing to wait for.
    waiting = {"Fn::Select": ["0", [log["DestinationArn"], {"Ref": ACCOUNT}]]}
    place = {"Fn::If": [_CONDITION, waiting, log["DestinationArn"]]}
    properties = {**api["Properties"], "AccessLogSetting": {**log, "DestinationArn": place}}
    parameter = {
        "Type": "String",
        # Without a default: the wrong answer takes a role away from others, or makes no stage.
        "AllowedValues": ["true", "false"],
        "Description": (
            "true where `aws apigateway get-account` shows no cloudwatchRoleArn in this account "
            "and Region; false elsewhere, since it would be replaced."
        ),
    }
    account = {
        "Type": "AWS::ApiGateway::Account",
        "Condition": _CONDITION,
        # Other APIs write with it by then, so it outlives the stack, as its role does.
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {"CloudWatchRoleArn": {"Fn::GetAtt": [_ROLE, "Arn"]}},
    }
    return {
        **template,
        "Parameters": {**template["Parameters"], PARAMETER: parameter},
        "Conditions": {_CONDITION: {"Fn::Equals": [{"Ref": PARAMETER}, "true"]}},
        "Resources": {
            **resources,
            # A creation that fails would take the role away, but leave it entered.
            _ROLE: {**resources[_ROLE], "DeletionPolicy": "Retain"},
            _API: {**api, "Properties": properties},
            ACCOUNT: account,
        },
    }
