"""What `destroy` would remove and what it would keep, found out without changing anything."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import boto3

from admin_cli.deploying.absent import tolerantly
from admin_cli.deploying.chalice_memory import is_shared
from admin_cli.deploying.chalice_runner import domain_of, find_api, rest_api_of
from admin_cli.deploying.foundation_plan import Change
from admin_cli.deploying.interfaces import Interfaces
from admin_cli.deploying.keeping_warm import rule_name as warm_rule_name
from admin_cli.deploying.mail_identity import is_kept
from admin_cli.deploying.teardown import role_name, rule_name, stands
from admin_cli.deploying.wiring import mappings
from admin_cli.foundation import stack_name
from admin_cli.gateway import Gateway, gateway_client
from admin_cli.tenants.gateway_survey import Survey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from admin_cli.deploying.target import Target
    from admin_cli.deploying.teardown import Standing

REMOVE, KEEP = "remove", "keep"


def destroy_changes(target: Target, *, data: bool) -> Iterator[Change]:
    """Yield what goes and what stays; `data`: whether the data goes too.

    Raises CliError and botocore's errors.
    """
    standing = stands(target)
    yield from _going(target, standing)
    fate = REMOVE if data else KEEP
    for what in _data(target, standing):
        yield Change("data", fate, what)
    foundation = target.foundation
    if foundation.KeyArn:
        grace = " (30 days after)" if data else ""
        yield Change("data", fate, f"encryption key {foundation.KeyArn.rpartition('/')[2]}{grace}")
    if domain := foundation.MailDomain:
        kept = not data or is_kept(target.stage, domain)
        yield Change("foundation", KEEP if kept else REMOVE, f"mail identity {domain}")
    whole = "network, queues, alarms, access log"
    yield Change("foundation", fate, f"stack {stack_name(target.stage)}: {whole}")
    if foundation.ApiLogRoleArn:  # API Gateway may write with it for all of the account
        role = foundation.ApiLogRoleArn.rpartition("/")[2]
        yield Change("foundation", KEEP, f"role {role}, which API Gateway writes logs with")


def _going(target: Target, standing: Standing) -> Iterator[Change]:
    """Yield what goes in any case, as far as it is there."""
    stage, functions = target.stage, boto3.client("lambda")
    events, roles = boto3.client("events"), boto3.client("iam")
    yield from _api(stage, standing)
    rules = (warm_rule_name(stage), *(rule_name(stage, name) for name in standing.functions))
    for rule in rules:
        if tolerantly(partial(events.describe_rule, Name=rule)):
            yield Change("events", REMOVE, f"schedule {rule}")
    for name, function in standing.functions.items():
        if tolerantly(partial(functions.get_function_configuration, FunctionName=function)):
            for found in mappings(functions, function):
                queue = str(found.get("EventSourceArn")).rpartition(":")[2]
                yield Change("events", REMOVE, f"queue {queue} wakes function {function}")
            yield Change("functions", REMOVE, f"function {function}")
        role = role_name(stage, name)
        if tolerantly(partial(roles.get_role, RoleName=role)):
            yield Change("functions", REMOVE, f"role {role}")
    left = Interfaces(boto3.client("ec2"), target.foundation.FunctionSecurityGroupId).count()
    if left:
        yield Change("functions", REMOVE, f"{left} network interfaces, by Lambda, in 45 min")


def _api(stage: str, standing: Standing) -> Iterator[Change]:
    gateway = gateway_client()
    api = rest_api_of(standing.memory) or find_api(gateway, stage)
    if api and tolerantly(partial(gateway.get_rest_api, restApiId=api)):
        yield Change("api", REMOVE, f"REST API {api}, and with it its address")
    if domain := domain_of(standing.memory):
        if is_shared(domain, api):
            yield Change("api", KEEP, f"custom domain {domain}, where other APIs answer")
        else:
            yield Change("api", REMOVE, f"custom domain {domain}")


def _data(target: Target, standing: Standing) -> Iterator[str]:
    """Yield what goes with the data only, as far as it is there."""
    stage, foundation, client = target.stage, target.foundation, gateway_client()
    keys = len(list(Survey(client, stage).keys()))
    plans = len(Gateway(client, stage, "", "").usage_plans())
    yield f"{keys} API keys and {plans} usage plans"
    if tolerantly(partial(boto3.client("s3").head_bucket, Bucket=foundation.BucketName), "404"):
        yield f"bucket {foundation.BucketName}: images, reports"
    table = partial(boto3.client("dynamodb").describe_table, TableName=foundation.TableName)
    if tolerantly(table):
        yield f"table {foundation.TableName}: clients, keys, studies, ledger, audit trail"
    if foundation.FileSystemId:
        systems = partial(
            boto3.client("efs").describe_file_systems, FileSystemId=foundation.FileSystemId
        )
        if tolerantly(systems):
            yield f"file system {foundation.FileSystemId}: packages and models"
    for function in standing.functions.values():
        name = f"/aws/lambda/{function}"
        found = boto3.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        if any(group.get("logGroupName") == name for group in found):
            yield f"log group {name}"
