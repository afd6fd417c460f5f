"""What `chalice package` leaves out of its template, put in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from admin_cli.deploying.api_settings import ACCESS_LOG
from admin_cli.deploying.gateway_responses import REFUSALS, headers
from admin_cli.deploying.stage_config import ON_EFS, function_name
from admin_cli.deploying.staging import MOUNT
from admin_cli.deploying.wiring import wires

if TYPE_CHECKING:
    from admin_cli.deploying.stage_settings import StageSettings
    from admin_cli.foundation import Foundation

_CODE = {"Bucket": {"Ref": "CodeBucket"}, "Key": {"Ref": "CodeKey"}}


def complete(
    packaged: dict[str, Any], stage: str, settings: StageSettings, foundation: Foundation
) -> None:
    """Put mounts, names, log groups, event sources and the API's settings into `packaged`."""
    resources: dict[str, Any] = packaged["Resources"]
    names = _functions(resources)
    for name, logical in names.items():
        properties = resources[logical]["Properties"]
        properties["CodeUri"] = _CODE
        # The foundation's policies know functions and roles by these names.
        properties["FunctionName"] = function_name(stage, name)
        role = properties["Role"]["Fn::GetAtt"][0]
        resources[role]["Properties"]["RoleName"] = f"radgate-{stage}-{name}"
        if foundation.AccessPointArn and name in ON_EFS:
            mount = {"Arn": foundation.AccessPointArn, "LocalMountPath": MOUNT}
            properties["FileSystemConfigs"] = [mount]
            resources[logical]["DependsOn"] = ["MountTargetA", "MountTargetB"]
        resources[f"{logical}Log"] = _log_group(stage, name, settings)
    for wire in wires(foundation, settings):
        if wire.function in names:
            queue = wire.queue_arn.strip("@{}").removesuffix("Arn")
            resources[f"{queue}Wakes{names[wire.function]}"] = {
                "Type": "AWS::Lambda::EventSourceMapping",
                "Properties": {
                    "EventSourceArn": wire.queue_arn,
                    "FunctionName": {"Ref": names[wire.function]},
                    **wire.settings(),
                },
            }
    _complete_api(resources["RestAPI"]["Properties"], stage, settings, foundation)


def _functions(resources: dict[str, Any]) -> dict[str, str]:
    """Names in config.json and in the template; the roles still tell the former."""
    found = {}
    for logical, resource in resources.items():
        if resource["Type"] == "AWS::Serverless::Function":
            handler = str(resource["Properties"]["Handler"])
            is_api = logical == "APIHandler"
            found["api_handler" if is_api else handler.rpartition(".")[2]] = logical
    return found


def _log_group(stage: str, name: str, settings: StageSettings) -> dict[str, Any]:
    key = {"Fn::If": ["HoldsData", {"Fn::GetAtt": ["Key", "Arn"]}, {"Ref": "AWS::NoValue"}]}
    return {
        "Type": "AWS::Logs::LogGroup",
        "DeletionPolicy": "Delete",
        "UpdateReplacePolicy": "Delete",
        "Properties": {
            "LogGroupName": f"/aws/lambda/{function_name(stage, name)}",
            "RetentionInDays": settings.log_days,
            "KmsKeyId": key,
        },
    }


def _complete_api(
    api: dict[str, Any], stage: str, settings: StageSettings, foundation: Foundation
) -> None:
    api["Name"] = f"radgate-{stage}"
    api["TracingEnabled"] = settings.xray
    api["AccessLogSetting"] = {"DestinationArn": foundation.ApiLogArn, "Format": ACCESS_LOG}
    api["MethodSettings"] = [
        {
            "ResourcePath": "/*",
            "HttpMethod": "*",
            "ThrottlingRateLimit": settings.throttle.rate_per_second,
            "ThrottlingBurstLimit": settings.throttle.burst,
            "DataTraceEnabled": False,
        }
    ]
    body = api["DefinitionBody"]
    body["info"]["title"] = f"radgate-{stage}"
    body["x-amazon-apigateway-gateway-responses"] = {
        kind: {
            "statusCode": problem.status,
            "responseParameters": headers(problem),
            "responseTemplates": {"application/json": problem.body("$context.requestId")},
        }
        for kinds, problem in REFUSALS
        for kind in kinds
    }
