"""Usage plans in the emitted template: one for each client of the stage's table.

A client that has its plan from the command line is left out, or it would have two.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from admin_cli.console import CliError
from admin_cli.emulator import use_local_endpoint
from admin_cli.foundation import read_foundation, stack_name
from admin_cli.gateway import Gateway, gateway_client, plan_name
from admin_cli.tenants.accounts import Accounts
from admin_cli.tenants.gates import PERIODS
from chalicelib import aws
from chalicelib.errors import RadgateError
from chalicelib.tenants.audit import Trail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from chalicelib.domain import Client

_KIND = "AWS::ApiGateway::UsagePlan"
_MOST = 300  # usage plans of an account and Region, by default


def clients_to_plan(stage: str, tell: Callable[[str], None]) -> tuple[Client, ...]:
    """Return the clients whose usage plans belong into the template of `stage`.

    None, and `tell` hears why, where the stage is not deployed or cannot be reached. Raises
    CliError for more of them than an account may have.
    """
    try:
        if stage == "local":
            use_local_endpoint()
        foundation = read_foundation(stage)
        trail = Trail(aws.table(foundation.TableName), lambda: "nobody", lambda: datetime.now(UTC))
        clients = Accounts(aws.table(foundation.TableName), trail).clients()
        elsewhere = _made_elsewhere(stage)
    except (CliError, RadgateError, ClientError, BotoCoreError) as error:
        reason = error.message if isinstance(error, CliError) else type(error).__name__
        tell(f"no usage plans in the template, as clients cannot be read: {reason}")
        return ()
    wanted = tuple(one for one in clients if one.deleting_at is None and one.id not in elsewhere)
    if len(wanted) > _MOST:
        raise CliError(f"{len(wanted)} clients are more than API Gateway has usage plans for")
    tell(f"usage plans in the template: {len(wanted)} of {len(clients)} clients")
    return wanted


def put_plans(resources: dict[str, Any], stage: str, clients: Iterable[Client]) -> None:
    """Put the clients' usage plans into the template's resources, as `gateway` shapes them."""
    for client in clients:
        requests, throttle = client.plan.requests, client.plan.throttle
        resources[f"PlanOf{hashlib.sha256(client.id.encode()).hexdigest()[:16]}"] = {
            "Type": _KIND,
            # Keys outlive an API, and so do the plans that they are in.
            "DeletionPolicy": "Retain",
            "UpdateReplacePolicy": "Retain",
            "Properties": {
                "UsagePlanName": plan_name(stage, client.id),
                # The reference to the stage makes CloudFormation wait for it.
                "ApiStages": [{"ApiId": {"Ref": "RestAPI"}, "Stage": {"Ref": "RestAPI.Stage"}}],
                "Throttle": {
                    "RateLimit": throttle.rate_per_second,
                    "BurstLimit": throttle.burst,
                },
                "Quota": {"Limit": requests.limit, "Period": PERIODS[requests.period]},
                "Tags": [{"Key": "app", "Value": "radgate"}, {"Key": "stage", "Value": stage}],
            },
        }


def _made_elsewhere(stage: str) -> set[str]:
    """Return the clients whose usage plan is there, but not by the stack."""
    gateway = Gateway(gateway_client(), stage, "", "")
    plans = gateway.usage_plans()
    pages = boto3.client("cloudformation").get_paginator("list_stack_resources")
    own = {
        one.get("PhysicalResourceId")
        for page in pages.paginate(StackName=stack_name(stage))
        for one in page["StackResourceSummaries"]
        if one["ResourceType"] == _KIND
    }
    return {gateway.owner_of(plan) for key, plan in plans.items() if key not in own}
