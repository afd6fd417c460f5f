"""Runs the unmodified `chalice` in a staged copy, and looks after its memory of what it made."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from admin_cli.console import CliError
from admin_cli.deploying.api_routes import ALIAS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mypy_boto3_apigateway import APIGatewayClient

CHALICE_SECONDS = 900  # packaging downloads wheels on the first run
_STEPS = ("Creating", "Updating", "Deleting")


def run_chalice(
    arguments: Sequence[str],
    build: Path,
    log: Path,
    tell: Callable[[str], None],
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Run ``chalice ARGUMENTS`` in `build`; its steps go to `tell`, all of its output to `log`.

    `defaults`: environment variables for those that are not set. Raises CliError with the reason
    that Chalice gives.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    with (
        log.open("w", encoding="utf-8") as output,
        subprocess.Popen(  # noqa: S603 - the environment's own chalice, no shell
            [os.path.join(sysconfig.get_path("scripts"), "chalice"), *arguments],  # noqa: PTH118
            cwd=build,
            env={**defaults, **_environment()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # The lock of the deploy goes along: it is free once nobody works on the stage.
            close_fds=False,
            text=True,
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                output.write(line)
                if text := line.strip():
                    lines.append(text)
                    if text.startswith(_STEPS):
                        tell(f"chalice: {text.rstrip('.')}")
            code = process.wait(CHALICE_SECONDS)
        except BaseException:
            process.terminate()  # Popen's exit then waits for it
            raise
    if code != 0:
        reason = next((text for text in reversed(lines) if "rror" in text), "".join(lines[-1:]))
        raise CliError(f"chalice {arguments[0]} failed: {reason} (all of its output: {log})")


def restore_memory(
    client: APIGatewayClient, stage: str, memory: Path, recorded: str | None
) -> str | None:
    """Give Chalice its memory back, so that it updates the API instead of making a second one.

    Chalice writes the file at the very end of a deploy and on one machine only. It is lost when
    a first deploy is killed half way and missing on a second operator's machine. What the table
    has `recorded` knows better; without it, the API is found by the function that it calls.
    Returns the API's id, or None when there is no API yet.
    """
    known = rest_api_of(recorded) if recorded else find_api(client, stage)
    if known is None or known == rest_api_of(_read(memory)):
        return known or rest_api_of(_read(memory))
    api = {"name": "rest_api", "resource_type": "rest_api", "rest_api_id": known}
    document = {"resources": [api], "schema_version": "2.0", "backend": "api"}
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(recorded or json.dumps(document), encoding="utf-8")
    return known


def find_api(client: APIGatewayClient, stage: str) -> str | None:
    """The REST API whose methods call the function of `stage`, or its alias."""
    function = f":function:radgate-{stage}"
    # The other while processes are kept ready.
    targets = (f"{function}/", f"{function}:{ALIAS}/")
    for page in client.get_paginator("get_rest_apis").paginate():
        for api in page["items"]:
            # Chalice names all stages' APIs alike; the deploy then adds the stage.
            if api.get("name") not in {"radgate", f"radgate-{stage}"}:
                continue
            resources = client.get_resources(restApiId=api["id"], limit=500, embed=["methods"])
            text = json.dumps(resources["items"], default=str)
            if any(target in text for target in targets):
                return api["id"]
    return None


def rest_api_of(memory: str | None) -> str | None:
    """The id of the API in Chalice's memory."""
    for resource in _resources(memory):
        if resource.get("resource_type") == "rest_api":
            return str(resource["rest_api_id"])
    return None


def domain_of(memory: str | None) -> str | None:
    """The custom domain in Chalice's memory."""
    for resource in _resources(memory):
        if resource.get("resource_type") == "domain_name":
            return str(resource["domain_name"])
    return None


def functions_of(memory: str | None) -> dict[str, str]:
    """The functions in Chalice's memory: their names in config.json, and on AWS."""
    return {
        str(resource["name"]): str(resource["lambda_arn"]).rpartition(":")[2]
        for resource in _resources(memory)
        if resource.get("resource_type") == "lambda_function"
    }


def forget_old_packages(build: Path) -> None:
    """Keep the newest zip of Chalice's cache: each change of code leaves one of 24 MB behind."""
    zips = (build / ".chalice" / "deployments").glob("*.zip")
    for old in sorted(zips, key=lambda path: path.stat().st_mtime)[:-1]:
        old.unlink(missing_ok=True)


def _resources(memory: str | None) -> list[dict[str, Any]]:
    try:
        return list(json.loads(memory or "{}")["resources"])
    except (ValueError, KeyError, TypeError):
        return []


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _environment() -> dict[str, str]:
    # PYTHONPATH would let the checkout shadow the staged copy that Chalice imports. What Python
    # wrote beside that copy while it is imported would be in the zip, with this machine's paths.
    found = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**found, "PYTHONDONTWRITEBYTECODE": "1"}
