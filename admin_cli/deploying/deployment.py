"""One deploy from end to end: staged copy, real `chalice deploy`, what Chalice leaves out, record.

Every step can be run again, and a run that was killed is repaired by the next: the digest that
lets a later run skip Chalice's work is recorded once that is done, and what Chalice leaves out is
compared with what is wanted at every run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from admin_cli.console import CliError
from admin_cli.deploying.api_settings import apply_api_settings
from admin_cli.deploying.chalice_runner import (
    forget_old_packages,
    functions_of,
    rest_api_of,
    restore_memory,
    run_chalice,
)
from admin_cli.deploying.deployment_record import Deployment, read_deployment, write_deployment
from admin_cli.deploying.fresh_processes import begin_anew, keep_noted
from admin_cli.deploying.gateway_responses import apply_refusals
from admin_cli.deploying.log_groups import keep_logs
from admin_cli.deploying.mounting import mount
from admin_cli.deploying.stage_settings import stage_settings
from admin_cli.deploying.target import Target
from admin_cli.deploying.tracing import trace
from admin_cli.deploying.wiring import connect, wires
from admin_cli.foundation import read_foundation
from admin_cli.gateway import Gateway, gateway_client
from admin_cli.tenants.plan_coverage import cover_plans

if TYPE_CHECKING:
    from pathlib import Path

    from admin_cli.foundation import Foundation

_GONE = {"NotFoundException", "ResourceNotFoundException"}
Tell = Callable[[str], None]


def deploy(
    stage: str, foundation: Foundation, home: Path, tell: Tell, *, force: bool
) -> Deployment:
    """Deploy the project to `stage` and record it. Without `force` an unchanged one is left alone.

    `tell` receives progress. Raises CliError in one line; Chalice's output is in
    ``<home>/logs/chalice-<stage>.log``.
    """
    target = Target(stage, stage_settings(stage), foundation, home)
    digest = target.stage_project()
    record = read_deployment(foundation.TableName)
    if not force and record is not None and is_live(target, record, digest):
        tell("code, configuration and gateway are unchanged: nothing to deploy")
        made = replace(record, api_url=target.api_url(record.rest_api_id))
    else:
        made = _deploy_code(target, tell, record, digest)
    if made != record:
        write_deployment(foundation.TableName, made)
    _complete(target, made, tell)
    return made


def is_live(target: Target, record: Deployment, digest: str) -> bool:
    """Whether this very code is deployed and its gateway responses are the ones in force."""
    if record.digest != digest or record.api_stage != target.settings.api_stage:
        return False
    client = gateway_client()
    functions = {f"radgate-{target.stage}", *functions_of(record.chalice).values()}
    try:
        live = client.get_stage(restApiId=record.rest_api_id, stageName=record.api_stage)
        for function in sorted(functions):
            boto3.client("lambda").get_function_configuration(FunctionName=function)
    except ClientError as error:
        if error.response["Error"]["Code"] in _GONE:
            return False
        raise
    return live["deploymentId"] == record.gateway_deployment


def _deploy_code(target: Target, tell: Tell, record: Deployment | None, digest: str) -> Deployment:
    client = gateway_client()
    restore_memory(client, target.stage, target.memory, record.chalice if record else None)
    keep_noted(boto3.client("lambda"), target.stage, target.build)
    command = ["deploy", "--stage", target.stage, "--connection-timeout", "120"]
    run_chalice(command, target.build, target.log, tell)
    remembered = target.memory.read_text(encoding="utf-8")
    rest_api_id = rest_api_of(remembered)
    if rest_api_id is None:
        raise CliError("chalice deploy made no REST API; has app.py a route?")
    tell("writing the gateway's answers and deploying its stage again")
    gateway_deployment = apply_refusals(client, rest_api_id, target.settings.api_stage)
    forget_old_packages(target.build)
    return Deployment(
        rest_api_id=rest_api_id,
        api_stage=target.settings.api_stage,
        api_url=target.api_url(rest_api_id),
        deployed_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        digest=digest,
        gateway_deployment=gateway_deployment,
        chalice=remembered,
    )


def _complete(target: Target, made: Deployment, tell: Tell) -> None:
    """Do what Chalice does not do, wherever it is not done."""
    functions = functions_of(made.chalice)
    settings, foundation = target.settings, target.foundation
    keep_logs(boto3.client("logs"), functions.values(), settings.log_days, foundation.KeyArn, tell)
    trace(boto3.client("lambda"), functions.values(), tell, on=settings.xray)
    mount(boto3.client("lambda"), functions, foundation, tell)
    connect(boto3.client("lambda"), functions, wires(foundation, settings), tell)
    client = gateway_client()
    if apply_api_settings(client, made.rest_api_id, target.stage, settings, foundation):
        tell("settings of the API and its stage")
    paced = gateway_client(paced=target.stage != "local")
    gateway = Gateway(paced, target.stage, made.rest_api_id, made.api_stage)
    cover_plans(gateway, gateway.usage_plans(), made, tell)


def keep_warm(target: Target, made: Deployment, tell: Tell, *, anew: bool) -> Deployment:
    """Keep processes ready and warm as the stage wants it; record and return what is deployed then.

    After packages and models are on the mount: a process that begins without them stays cold.
    `anew`: whether processes that are ready already end too, though the function did not change.
    Raises CliError and botocore's errors.
    """
    entrance = target.entrance(made)
    if anew:
        entrance.end_processes()
    if (redeployed := entrance.apply(tell)) is not None:
        # At once: until it is written, a deployment that is not ours is in force to the next run.
        made = replace(made, gateway_deployment=redeployed)
        write_deployment(target.foundation.TableName, made)
    target.schedule().apply(tell)
    return made


def restart(stage: str, home: Path, now: str | None, tell: Tell) -> None:
    """Have the processes of a deployed stage end that began with another tree than serves.

    `now`: as `fresh_processes.serving` tells it. Nothing is done where none is deployed. Raises
    CliError and botocore's errors.
    """
    foundation = read_foundation(stage)
    made = read_deployment(foundation.TableName)
    if made is not None:
        target = Target(stage, stage_settings(stage), foundation, home)
        begin_anew(made, target.entrance(made), now, tell)
