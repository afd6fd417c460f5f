"""Takes a stage's functions and API away; what they kept stays.

Every step can be run again; one that finds nothing is no error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import boto3

from admin_cli.deploying.absent import tolerantly
from admin_cli.deploying.chalice_memory import forget_gone
from admin_cli.deploying.chalice_runner import find_api, functions_of, restore_memory, run_chalice
from admin_cli.deploying.deployment_record import forget_deployment, read_deployment
from admin_cli.deploying.interfaces import Interfaces
from admin_cli.deploying.stage_config import ON_EFS, function_name
from admin_cli.deploying.staging import PROJECT
from admin_cli.deploying.wiring import disconnect
from admin_cli.gateway import gateway_client

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_iam import IAMClient

    from admin_cli.deploying.target import Target


def remove_functions(target: Target, tell: Callable[[str], None]) -> None:
    """Remove event sources, functions, API, schedules and roles, and the record of the deploy.

    `chalice delete` removes what Chalice remembers and what is there. What a deploy left that was
    killed before Chalice wrote anything down is found by its name. Roles of functions in the
    network go last, once Lambda needs them no more. Raises CliError and botocore's errors.
    """
    table, stage = target.foundation.TableName, target.stage
    gateway = gateway_client()
    standing = stands(target)
    if target.schedule().remove():
        tell("removing the warm-up")
    tell("removing event sources")
    for function in standing.functions.values():
        # One by one, because a function that is gone has no list of them.
        tolerantly(partial(disconnect, boto3.client("lambda"), {"": function}))
    api = restore_memory(gateway, stage, target.memory, standing.memory)
    if target.memory.exists():
        target.stage_project()
        if forget_gone(target.memory, {role_name(stage, name) for name in ON_EFS}):
            run_chalice(["delete", "--stage", stage], target.build, target.log, tell)
        target.memory.unlink(missing_ok=True)
    left = api or find_api(gateway, stage)
    if left and tolerantly(partial(gateway.delete_rest_api, restApiId=left)):
        tell(f"deleting REST API {left}")
    for name, function in standing.functions.items():
        tolerantly(partial(_delete_rule, rule_name(stage, name)))
        delete = partial(boto3.client("lambda").delete_function, FunctionName=function)
        if tolerantly(delete):
            tell(f"deleting function {function}")
    Interfaces(boto3.client("ec2"), target.foundation.FunctionSecurityGroupId).await_removal(tell)
    for name, function in standing.functions.items():
        if tolerantly(partial(_delete_role, boto3.client("iam"), role_name(stage, name))):
            tell(f"deleting the role of function {function}")
    tolerantly(partial(forget_deployment, table))


@dataclass(frozen=True, slots=True)
class Standing:
    """What a stage may have. `functions`: names in config.json and on AWS; `memory`: Chalice's."""

    functions: Mapping[str, str]
    memory: str | None


def stands(target: Target) -> Standing:
    """Return what is recorded of a stage, and what it would be named. Raises ClientError."""
    # The table may have gone in an earlier run.
    record = tolerantly(partial(read_deployment, target.foundation.TableName))
    recorded = record.chalice if record else None
    by_name = {name: function_name(target.stage, name) for name in _configured(target.stage)}
    return Standing({**by_name, **functions_of(recorded)}, recorded)


def role_name(stage: str, name: str) -> str:
    """What Chalice calls the role of a function; `name` is its name in config.json."""
    return f"radgate-{stage}-{name}"


def rule_name(stage: str, name: str) -> str:
    """What Chalice calls the schedule of a function."""
    return f"radgate-{stage}-{name}-event"


def _delete_rule(name: str) -> None:
    client = boto3.client("events")
    if targets := client.list_targets_by_rule(Rule=name)["Targets"]:
        client.remove_targets(Rule=name, Ids=[one["Id"] for one in targets])
    client.delete_rule(Name=name)


def _delete_role(client: IAMClient, role: str) -> bool:
    for policy in client.list_role_policies(RoleName=role)["PolicyNames"]:
        client.delete_role_policy(RoleName=role, PolicyName=policy)
    client.delete_role(RoleName=role)
    return True


def _configured(stage: str) -> list[str]:
    config = json.loads((PROJECT / ".chalice" / "config.json").read_text(encoding="utf-8"))
    return list(config["stages"].get(stage, {}).get("lambda_functions", {}))
