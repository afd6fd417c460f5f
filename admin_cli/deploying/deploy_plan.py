"""What `deploy` would do, step by step, found out without changing anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import boto3

from admin_cli.deploying.api_settings import api_patches
from admin_cli.deploying.chalice_runner import functions_of
from admin_cli.deploying.deployment import is_live
from admin_cli.deploying.deployment_record import read_deployment
from admin_cli.deploying.foundation_plan import Change, foundation_changes
from admin_cli.deploying.fresh_processes import Loaders, serving
from admin_cli.deploying.lambda_packages import check_python
from admin_cli.deploying.live_changes import check_changes
from admin_cli.deploying.log_groups import unkept_logs
from admin_cli.deploying.mount_models import SHIPPED, model_changes
from admin_cli.deploying.mount_runtime import runtime_changes
from admin_cli.deploying.mounting import unmounted
from admin_cli.deploying.network_change import moves
from admin_cli.deploying.stage_config import function_name
from admin_cli.deploying.stage_settings import stage_settings
from admin_cli.deploying.staging import PROJECT, policies
from admin_cli.deploying.target import Target
from admin_cli.deploying.tracing import wrongly_traced
from admin_cli.deploying.wiring import unwired, wires
from admin_cli.foundation import STILLBORN, find_stack, read_foundation
from admin_cli.gateway import Gateway, gateway_client
from admin_cli.runtime.remote import Mount
from admin_cli.tenants.plan_coverage import uncovered
from chalicelib.inference.packs import list_packs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from admin_cli.deploying.deployment_record import Deployment
    from admin_cli.deploying.stage_settings import StageSettings


def deploy_changes(stage: str, home: Path) -> tuple[Change, ...]:
    """Return every change that a deploy of `stage` would make now; none when it is up to date.

    The copy that would be deployed is made in `home`, AWS is only read. What depends on a step
    that has not happened yet is told as a whole. Raises botocore's errors, and CliError where the
    deploy would be refused.
    """
    settings = stage_settings(stage)
    policies(PROJECT, stage)
    check_python(stage)
    check_changes(stage, settings)
    there = find_stack(stage)
    changes = list(foundation_changes(stage))
    if there is None or there["StackStatus"] in STILLBORN:
        return (*changes, *_first(stage, settings))
    if moves(stage, settings, there):
        out = Change("foundation", "remove", "the file system from its present network")
        changes.insert(0, out)
    target = Target(stage, settings, read_foundation(stage), home)
    record = read_deployment(target.foundation.TableName)
    if record is None:
        return (*changes, *_first(stage, settings))
    if not is_live(target, record, target.stage_project()):
        changes += _code(stage, "update")
    return (*changes, *_completing(target, record))


def _code(stage: str, action: str) -> Iterator[Change]:
    config = json.loads((PROJECT / ".chalice" / "config.json").read_text(encoding="utf-8"))
    for name in config["stages"].get(stage, {}).get("lambda_functions", {}):
        yield Change("code", action, f"function {function_name(stage, name)}")
    yield Change("code", action, "REST API, its gateway responses and a deployment of its stage")


def _completing(target: Target, record: Deployment) -> Iterator[Change]:
    functions = functions_of(record.chalice)
    client, foundation, settings = boto3.client("lambda"), target.foundation, target.settings
    logs = boto3.client("logs")
    for name, there in unkept_logs(logs, functions.values(), settings.log_days, foundation.KeyArn):
        yield Change("logs", "create" if there is None else "modify", name)
    for wire in unwired(client, functions, wires(foundation, settings)):
        queue = wire.queue_arn.rpartition(":")[2]
        yield Change("events", "modify", f"queue {queue} wakes function {wire.function}")
    # A function that is not there is made by the step before.
    known = {name: made for name, made in functions.items() if _exists(made)}
    for name in unmounted(client, known, foundation):
        yield Change("mount", "modify", f"models on function {name}")
    for name in wrongly_traced(client, known.values(), on=settings.xray):
        yield Change("tracing", "modify", f"{'on' if settings.xray else 'off'} on function {name}")
    if "efs_sync" in known:
        yield from _on_mount(target, known)
    gateway = gateway_client()
    plans = Gateway(gateway, target.stage, record.rest_api_id, record.api_stage).usage_plans()
    for plan in uncovered(plans, (record.rest_api_id, record.api_stage)):
        yield Change("plans", "modify", f"usage plan {plans[plan].get('name')} covers the API")
    if not any(
        api["id"] == record.rest_api_id for api in gateway.get_rest_apis(limit=500)["items"]
    ):
        return
    patches = api_patches(gateway, record.rest_api_id, target.stage, settings, foundation)
    for patch in (*patches[0], *patches[1]):
        yield Change("settings", "modify", f"{patch.get('path')} to {patch.get('value')}")
    if "api_handler" in known:  # last, as processes begin with what is on the mount
        yield from _warmth(target, record)


def _on_mount(target: Target, known: dict[str, str]) -> Iterator[Change]:
    mount = Mount.of_stage(target.stage)
    yield from runtime_changes(target.stage, target.foundation, mount)
    now = serving(mount.order("list"))
    for name in Loaders(boto3.client("lambda"), known).outdated(now):
        yield Change("runtime", "restart", f"function {name}, with packages {str(now)[:12]}")
    yield from model_changes(mount)


def _warmth(target: Target, record: Deployment) -> Iterator[Change]:
    for what in target.entrance(record).differences():
        yield Change("warmth", "modify", what)
    for what in target.schedule().differences():
        yield Change("warmth", "modify", what)


def _first(stage: str, settings: StageSettings) -> Iterator[Change]:
    """All that follows where nothing was deployed yet, and the mount cannot be asked."""
    yield from _code(stage, "create")
    if settings.network != "none":
        yield Change("runtime", "create", "packages of requirements-efs.txt onto the mount")
    for pack in list_packs(SHIPPED):
        yield Change("models", "create", f"{pack.ref.name}@{pack.ref.version} onto the mount")
    if settings.provisioned_concurrency:
        yield Change("warmth", "create", f"{settings.provisioned_concurrency} processes kept ready")
    if settings.warm_every_minutes:
        yield Change("warmth", "create", f"warm-up every {settings.warm_every_minutes} min")


def _exists(function: str) -> bool:
    client = boto3.client("lambda")
    try:
        client.get_function_configuration(FunctionName=function)
    except client.exceptions.ResourceNotFoundException:
        return False
    return True
