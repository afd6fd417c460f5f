"""A stage whose stack an emitted template made: its record, read off the stack.

Everything that the template cannot do is a deploy's as ever: packages, models, smoke test. The
functions are the stack's, and no deploy may touch them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3

from admin_cli.console import CliError
from admin_cli.deploying.deployment_record import Deployment, write_deployment
from admin_cli.deploying.target import Target
from admin_cli.foundation import API_OUTPUT, find_stack, outputs_of, read_foundation, stack_name
from admin_cli.gateway import gateway_client
from admin_cli.tenants.registry import registry_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from admin_cli.deploying.stage_settings import StageSettings
    from admin_cli.foundation import Foundation
    from admin_cli.stage import Stage

_GOOD = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}


def adopt(
    stage: str, settings: StageSettings, home: Path, tell: Callable[[str], None]
) -> tuple[Deployment, Foundation]:
    """Write the record of a stage that an emitted template made; return it. Twice is no error.

    Raises CliError when the stack is not there, not whole, or has no API, and botocore's errors.
    """
    name, stack = stack_name(stage), find_stack(stage)
    if stack is None:
        raise CliError(f"stack {name} does not exist: deploy the emitted template under this name")
    if stack["StackStatus"] not in _GOOD:
        raise CliError(f"stack {name} is {stack['StackStatus']}")
    rest_api_id = outputs_of(stack).get(API_OUTPUT)
    if not rest_api_id:
        raise CliError(f"stack {name} holds no API: `radgate deploy` made it, or has to")
    foundation = read_foundation(stage)
    target = Target(stage, settings, foundation, home)
    live = gateway_client().get_stage(restApiId=rest_api_id, stageName=settings.api_stage)
    made = Deployment(
        rest_api_id=rest_api_id,
        api_stage=settings.api_stage,
        api_url=target.api_url(rest_api_id),
        deployed_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        digest="",
        gateway_deployment=live["deploymentId"],
        chalice=json.dumps(_memory(name, rest_api_id)),
    )
    write_deployment(foundation.TableName, made)
    tell(f"stack {name}: its API {rest_api_id} is recorded")
    return made, foundation


def take_plans(stage: Stage, tell: Callable[[str], None]) -> None:
    """Note the usage plans that the stack made for clients whose own is gone; put their keys in.

    Raises CliError.
    """
    registry, plans = registry_of(stage), stage.gateway.usage_plans()
    owners = {stage.gateway.owner_of(plan) for plan in plans.values()}
    for client in registry.clients():
        gone = client.usage_plan_id not in plans
        if client.deleting_at is None and gone and client.id in owners:
            tell(f"client {client.id}: its usage plan is the stack's")
            registry.mend_plan(client.id)


def _memory(stack: str, rest_api_id: str) -> dict[str, Any]:
    """Return the stack's functions in the form in which Chalice remembers its own."""
    pages = boto3.client("cloudformation").get_paginator("list_stack_resources")
    api = {"name": "rest_api", "resource_type": "rest_api", "rest_api_id": rest_api_id}
    resources = [api]
    for page in pages.paginate(StackName=stack):
        for one in page["StackResourceSummaries"]:
            if one["ResourceType"] == "AWS::Lambda::Function":
                function = str(one.get("PhysicalResourceId"))
                short = function.removeprefix(stack).removeprefix("-") or "api_handler"
                fields = {"resource_type": "lambda_function", "lambda_arn": function}
                resources.append({"name": short, **fields})
    return {"resources": resources, "schema_version": "2.0", "backend": "cloudformation"}
