"""Settings of the API and its stage that Chalice leaves as they are: name, throttle, access log.

Compression, endpoint type and domain go through Chalice's configuration, binary types through its
description of the API.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_apigateway.type_defs import PatchOperationTypeDef, StageResponseTypeDef

    from admin_cli.deploying.stage_settings import StageSettings
    from admin_cli.foundation import Foundation

_ROLE_SECONDS = 60  # a new role is known to API Gateway after some seconds
# One JSON line a request. It holds no key, but the key's id; the route and not the path, as paths
# hold the ids of studies; and no address of the caller, which would be personal data.
ACCESS_LOG = json.dumps(
    {
        "request_id": "$context.requestId",
        "time": "$context.requestTime",
        "method": "$context.httpMethod",
        "route": "$context.resourcePath",
        "status": "$context.status",
        "refusal": "$context.error.responseType",
        "key_id": "$context.identity.apiKeyId",
        "bytes": "$context.responseLength",
        "ms": "$context.responseLatency",
        "function_ms": "$context.integrationLatency",
    }
)


def apply_api_settings(
    client: APIGatewayClient,
    rest_api_id: str,
    stage: str,
    settings: StageSettings,
    foundation: Foundation,
) -> bool:
    """Bring the API and its stage to what is wanted; False when they were.

    Takes effect at once, without another deployment of the stage. Raises ClientError.
    """
    api, own = api_patches(client, rest_api_id, stage, settings, foundation)
    if api:
        client.update_rest_api(restApiId=rest_api_id, patchOperations=api)
    if own:
        _let_gateway_log(client, foundation.ApiLogRoleArn)
        client.update_stage(
            restApiId=rest_api_id, stageName=settings.api_stage, patchOperations=own
        )
    return bool(api or own)


def api_patches(
    client: APIGatewayClient,
    rest_api_id: str,
    stage: str,
    settings: StageSettings,
    foundation: Foundation,
) -> tuple[list[PatchOperationTypeDef], list[PatchOperationTypeDef]]:
    """What would have to be changed on the API, and on its stage."""
    api = client.get_rest_api(restApiId=rest_api_id)
    changes: list[PatchOperationTypeDef] = []
    # Metrics and alarms go by name, and Chalice names the APIs of all stages alike.
    if api.get("name") != (name := f"radgate-{stage}"):
        changes.append({"op": "replace", "path": "/name", "value": name})
    found = _present(client.get_stage(restApiId=rest_api_id, stageName=settings.api_stage))
    wanted = _wanted(settings, foundation)
    return changes, [
        {"op": "replace", "path": path, "value": value}
        for path, value in wanted.items()
        if found.get(path) != value
    ]


def _wanted(settings: StageSettings, foundation: Foundation) -> dict[str, str]:
    return {
        "/tracingEnabled": str(settings.xray).lower(),
        "/*/*/throttling/rateLimit": str(settings.throttle.rate_per_second),
        "/*/*/throttling/burstLimit": str(settings.throttle.burst),
        # Would write whole requests, images and keys included, into a log.
        "/*/*/logging/dataTrace": "false",
        "/accessLogSettings/destinationArn": foundation.ApiLogArn.removesuffix(":*"),
        "/accessLogSettings/format": ACCESS_LOG,
    }


def _present(stage: StageResponseTypeDef) -> Mapping[str, str]:
    every = stage.get("methodSettings", {}).get("*/*", {})
    log = stage.get("accessLogSettings", {})
    rate, burst = every.get("throttlingRateLimit"), every.get("throttlingBurstLimit")
    return {
        "/tracingEnabled": str(bool(stage.get("tracingEnabled"))).lower(),
        "/*/*/throttling/rateLimit": "" if rate is None else str(float(rate)),
        "/*/*/throttling/burstLimit": "" if burst is None else str(int(burst)),
        "/*/*/logging/dataTrace": str(bool(every.get("dataTraceEnabled"))).lower(),
        "/accessLogSettings/destinationArn": log.get("destinationArn", "").removesuffix(":*"),
        "/accessLogSettings/format": log.get("format", ""),
    }


def _let_gateway_log(
    client: APIGatewayClient, role: str, pause: Callable[[float], None] = time.sleep
) -> None:
    """Enter the role that API Gateway writes logs with, if the account has none yet.

    One role serves all APIs of an account and Region, so another's is left as it is.
    """
    if not role or client.get_account().get("cloudwatchRoleArn"):
        return
    patch: PatchOperationTypeDef = {"op": "replace", "path": "/cloudwatchRoleArn", "value": role}
    for left in range(_ROLE_SECONDS // 5, -1, -1):
        try:
            client.update_account(patchOperations=[patch])
        except ClientError as error:
            if error.response["Error"]["Code"] != "BadRequestException" or not left:
                raise
            pause(5)
        else:
            return
