"""One deploy from end to end: staged copy, real `chalice deploy`, gateway responses, record.

Every step can be run again, and a run that was killed is repaired by the next: the digest that
lets a later run skip the work is recorded last.
"""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

from admin_cli.console import CliError
from admin_cli.deployment_record import Deployment, read_deployment, write_deployment
from admin_cli.gateway import gateway_client
from admin_cli.gateway_responses import apply_refusals
from admin_cli.staging import MOUNT, stage_project

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient

    from admin_cli.foundation import Foundation

API_STAGE = "v1"
CHALICE_SECONDS = 900  # packaging downloads wheels on the first run
_GONE = {"NotFoundException", "ResourceNotFoundException"}
Tell = Callable[[str], None]


def deploy(
    stage: str, foundation: Foundation, home: Path, tell: Tell, *, force: bool
) -> Deployment:
    """Deploy the project to `stage` and record it. Without `force` an unchanged one is left alone.

    `tell` receives progress. Raises CliError in one line; Chalice's output is in
    ``<home>/logs/chalice-<stage>.log``.
    """
    build = home / "build" / stage
    # Locally a plain folder stands for EFS.
    model_dir = str(home / "models") if stage == "local" else MOUNT
    digest = stage_project(stage, foundation, build, model_dir)
    client = gateway_client()
    record = read_deployment(foundation.TableName)
    if not force and record is not None and _is_live(client, stage, record, digest):
        tell("code, configuration and gateway are unchanged: nothing to deploy")
        url = api_url(record.rest_api_id, foundation.region)
        if url == record.api_url:
            return record
        return write_deployment(foundation.TableName, replace(record, api_url=url))
    memory = build / ".chalice" / "deployed" / f"{stage}.json"
    _remember(client, stage, memory, record)
    _run_chalice(stage, build, home / "logs" / f"chalice-{stage}.log", tell)
    rest_api_id = _rest_api_id(memory)
    if rest_api_id is None:
        raise CliError("chalice deploy made no REST API; has app.py a route?")
    tell("writing the gateway's answers and deploying its stage again")
    gateway_deployment = apply_refusals(client, rest_api_id, API_STAGE)
    _forget_old_packages(build)
    return write_deployment(
        foundation.TableName,
        Deployment(
            rest_api_id=rest_api_id,
            api_stage=API_STAGE,
            api_url=api_url(rest_api_id, foundation.region),
            deployed_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            digest=digest,
            gateway_deployment=gateway_deployment,
            chalice=memory.read_text(encoding="utf-8"),
        ),
    )


def api_url(rest_api_id: str, region: str) -> str:
    """Where the API answers, without a slash at the end."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        return f"{endpoint}/restapis/{rest_api_id}/{API_STAGE}/_user_request_"
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{rest_api_id}.execute-api.{region}.{suffix}/{API_STAGE}"


def _is_live(client: APIGatewayClient, stage: str, record: Deployment, digest: str) -> bool:
    """Whether this very code is deployed and its gateway responses are the ones in force."""
    if record.digest != digest:
        return False
    try:
        live = client.get_stage(restApiId=record.rest_api_id, stageName=record.api_stage)
        boto3.client("lambda").get_function(FunctionName=f"radgate-{stage}")
    except ClientError as error:
        if error.response["Error"]["Code"] in _GONE:
            return False
        raise
    return live["deploymentId"] == record.gateway_deployment


def _remember(
    client: APIGatewayClient, stage: str, memory: Path, record: Deployment | None
) -> None:
    """Give Chalice its memory back, so that it updates the API instead of making a second one.

    Chalice writes the file at the very end of a deploy and on one machine only. It is lost when
    a first deploy is killed half way and missing on a second operator's machine. The record in
    the table knows better; without one, the API is found by the function that it calls.
    """
    known = record.rest_api_id if record else _find_api(client, stage)
    if known is None or known == _rest_api_id(memory):
        return
    api = {"name": "rest_api", "resource_type": "rest_api", "rest_api_id": known}
    document = {"resources": [api], "schema_version": "2.0", "backend": "api"}
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(record.chalice if record else json.dumps(document), encoding="utf-8")


def _find_api(client: APIGatewayClient, stage: str) -> str | None:
    """The REST API whose methods call the function of `stage`; all stages share one API name."""
    target = f":function:radgate-{stage}/"
    for page in client.get_paginator("get_rest_apis").paginate():
        for api in page["items"]:
            if api.get("name") != "radgate":
                continue
            resources = client.get_resources(restApiId=api["id"], limit=500, embed=["methods"])
            if target in json.dumps(resources["items"], default=str):
                return api["id"]
    return None


def _rest_api_id(memory: Path) -> str | None:
    try:
        resources = json.loads(memory.read_text(encoding="utf-8"))["resources"]
    except (FileNotFoundError, ValueError, KeyError):
        return None
    for resource in resources:
        if resource.get("resource_type") == "rest_api":
            return str(resource["rest_api_id"])
    return None


def _run_chalice(stage: str, build: Path, log: Path, tell: Tell) -> None:
    """Run the unmodified `chalice deploy` in `build`; steps go to `tell`, everything to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    chalice = Path(sysconfig.get_path("scripts")) / "chalice"
    lines: list[str] = []
    with (
        log.open("w", encoding="utf-8") as output,
        subprocess.Popen(  # noqa: S603 - the environment's own chalice, no shell
            [str(chalice), "deploy", "--stage", stage, "--connection-timeout", "120"],
            cwd=build,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                output.write(line)
                if text := line.strip():
                    lines.append(text)
                    if text.startswith(("Creating", "Updating", "Deleting")):
                        tell(f"chalice: {text.rstrip('.')}")
            code = process.wait(CHALICE_SECONDS)
        except BaseException:
            process.terminate()  # Popen's exit then waits for it
            raise
    if code != 0:
        reason = next((text for text in reversed(lines) if "rror" in text), lines[-1:] or "")
        raise CliError(f"chalice deploy failed: {reason} (all of its output: {log})")


def _forget_old_packages(build: Path) -> None:
    """Keep the newest zip of Chalice's cache: each change of code leaves one of 11 MB behind."""
    zips = sorted((build / ".chalice" / "deployments").glob("*.zip"), key=_modified)
    for old in zips[:-1]:
        old.unlink(missing_ok=True)


def _modified(path: Path) -> float:
    return path.stat().st_mtime


def _environment() -> dict[str, Any]:
    # PYTHONPATH would let the checkout shadow the staged copy that Chalice imports.
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
