"""Takes a stage's functions and API away; what they kept stays.

Every step can be run again; one that finds nothing is no error.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from admin_cli.deploying.chalice_runner import find_api, functions_of, restore_memory, run_chalice
from admin_cli.deploying.deployment_record import forget_deployment, read_deployment
from admin_cli.deploying.stage_config import function_name
from admin_cli.deploying.staging import PROJECT
from admin_cli.deploying.wiring import disconnect
from admin_cli.gateway import gateway_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_iam import IAMClient

    from admin_cli.deploying.target import Target

_GONE = {"NoSuchEntity", "NotFoundException", "ResourceNotFoundException"}


def remove_functions(target: Target, tell: Callable[[str], None]) -> None:
    """Remove event sources, functions, API, schedules and roles, and the record of the deploy.

    `chalice delete` removes what Chalice remembers. What a deploy left that was killed before
    Chalice wrote anything down is found by its name. Raises CliError and botocore's errors.
    """
    table, stage = target.foundation.TableName, target.stage
    gateway = gateway_client()
    try:
        record = read_deployment(table)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _GONE:
            raise
        record = None  # the table went in an earlier run
    recorded = record.chalice if record else None
    by_name = {name: function_name(stage, name) for name in _configured(stage)}
    functions = {**by_name, **functions_of(recorded)}
    if target.schedule().remove():
        tell("removing the warm-up")
    tell("removing event sources")
    for function in functions.values():
        # One by one, because a function that is gone has no list of them.
        _tolerantly(partial(disconnect, boto3.client("lambda"), {"": function}))
    api = restore_memory(gateway, stage, target.memory, recorded)
    if target.memory.exists():
        target.stage_project()
        run_chalice(["delete", "--stage", stage], target.build, target.log, tell)
        target.memory.unlink(missing_ok=True)
    left = api or find_api(gateway, stage)
    if left and _tolerantly(partial(gateway.delete_rest_api, restApiId=left)):
        tell(f"deleting REST API {left}")
    for name, function in functions.items():
        _remove_function(stage, name, function, tell)
    _tolerantly(partial(forget_deployment, table))


def _remove_function(stage: str, name: str, function: str, tell: Callable[[str], None]) -> None:
    delete = partial(boto3.client("lambda").delete_function, FunctionName=function)
    if _tolerantly(delete):
        tell(f"deleting function {function}")
    if _tolerantly(partial(_delete_role, boto3.client("iam"), f"radgate-{stage}-{name}")):
        tell(f"deleting the role of function {function}")


def _delete_role(client: IAMClient, role: str) -> None:
    for policy in client.list_role_policies(RoleName=role)["PolicyNames"]:
        client.delete_role_policy(RoleName=role, PolicyName=policy)
    client.delete_role(RoleName=role)


def _configured(stage: str) -> list[str]:
    config = json.loads((PROJECT / ".chalice" / "config.json").read_text(encoding="utf-8"))
    return list(config["stages"].get(stage, {}).get("lambda_functions", {}))


def _tolerantly(remove: Callable[[], object]) -> bool:
    """Remove something; False when it was gone already."""
    try:
        remove()
    except ClientError as error:
        if error.response["Error"]["Code"] not in _GONE:
            raise
        return False
    return True
