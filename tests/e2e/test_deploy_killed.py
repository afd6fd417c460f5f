"""`radgate deploy` as a process that is killed with SIGKILL: the next run always ends well."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import random
import signal
import sys
import time
from threading import Timer
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from admin_cli import emulator
from admin_cli.__main__ import run
from admin_cli.deploying.api_routes import ALIAS
from admin_cli.deploying.fresh_processes import VARIABLE
from admin_cli.deploying.keeping_warm import rule_name
from tests.e2e.staged import WARM, StagedRadgate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

# Whole deploys with torch on the mount; a busy machine takes minutes for each.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]
# A line of progress for each step, in the order of their first appearance.
STEPS = (
    "stack radgate-local: creating",
    "Creating lambda function",
    "Creating Rest API",
    "writing the gateway's answers",
    "mounting",
    "wiring",
    "packages: uploading",
    "packages: onto the mount",
    "model cardionet@1: onto the mount",
    "its golden answer",
    "begins anew",
    "processes are kept ready",
    "warm-up of function",
    "the key opens the API",
)
RUN_SECONDS = 1500
MOMENTS = random.SystemRandom()
# Every run is a process of its own, which has loaded the command line before it begins.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__, "admin_cli.deploying.deploy"])


@pytest.fixture(scope="module")
def radgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StagedRadgate]:
    """A local AWS with nothing on it."""
    radgate = StagedRadgate.beside(tmp_path_factory.mktemp("killed"), WARM)
    emulator.start(radgate.home)
    try:
        yield radgate
    finally:
        emulator.stop(radgate.home)


def command_line(arguments: Sequence[str], environment: dict[str, str], told: Connection) -> None:
    """Be `radgate ARGUMENTS`, with its progress written to a pipe."""
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(told.fileno(), sys.stderr.fileno())
    with contextlib.redirect_stdout(None):
        sys.exit(run(arguments))


def killed(radgate: StagedRadgate, words: str = "", seconds: float = RUN_SECONDS) -> bool:
    """Run a deploy and kill it at the first line with `words`, or after `seconds`.

    False when it came to its end before.
    """
    wait_for_lock(radgate)
    reader, writer = PROCESSES.Pipe(duplex=False)
    arguments = ("deploy", *([] if words else ["--force"]))
    process = PROCESSES.Process(
        target=command_line, args=(arguments, radgate.environment(), writer)
    )
    process.start()
    writer.close()
    timer = Timer(seconds, process.kill)
    timer.start()
    with os.fdopen(os.dup(reader.fileno()), encoding="utf-8") as lines:
        for line in lines:
            if words and words in line:
                process.kill()
    timer.cancel()
    process.join()
    reader.close()
    return process.exitcode == -signal.SIGKILL


def wait_for_lock(radgate: StagedRadgate) -> None:
    """Wait until Chalice, if a killed run has left it, has noticed that nobody listens."""
    deadline = time.monotonic() + RUN_SECONDS
    with (radgate.home / "deploy-local.lock").open("w", encoding="utf-8") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            else:
                return


def test_a_deploy_that_is_killed_at_each_step_ends_well(radgate: StagedRadgate) -> None:
    for words in STEPS:
        assert killed(radgate, words), words
    # Anywhere: in the middle of a step as well.
    for _ in range(2):
        killed(radgate, seconds=MOMENTS.uniform(1, 15))
    wait_for_lock(radgate)
    # To the end, with a study by the model as its proof.
    made = radgate.json("deploy", timeout=RUN_SECONDS)
    assert made["smoke_test"]["model"] == "cardionet@1"
    assert radgate.json("deploy", "--dry-run") == []
    models = radgate.home / "models"
    found = sorted(one.name for one in models.iterdir() if not one.name.startswith("."))
    assert found == ["active.json", "cardionet-1"]
    assert not list(models.rglob(".incoming-*"))
    runtime = models / ".runtime"
    names = {one.name for one in runtime.iterdir() if not one.name.startswith(".")}
    [tree] = names - {"active.json"}
    assert_single_and_warm(radgate, tree)


def assert_single_and_warm(radgate: StagedRadgate, tree: str) -> None:
    """One API, which leads to processes that are kept ready and have the tree that serves."""
    found = emulator.running(radgate.home)
    assert found is not None
    place: dict[str, Any] = {
        "endpoint_url": found.url,
        "region_name": emulator.REGION,
        "aws_access_key_id": "test",
        "aws_secret_access_key": "test",
    }
    gateway, functions = boto3.client("apigateway", **place), boto3.client("lambda", **place)
    [api] = gateway.get_rest_apis(limit=500)["items"]
    resources = gateway.get_resources(restApiId=api["id"], limit=500, embed=["methods"])["items"]
    uris = {
        method["methodIntegration"]["uri"]
        for one in resources
        for method in one.get("resourceMethods", {}).values()
    }
    assert {uri.partition(":function:")[2] for uri in uris} == {
        f"radgate-local:{ALIAS}/invocations"
    }
    ready = functions.get_provisioned_concurrency_config(
        FunctionName="radgate-local", Qualifier=ALIAS
    )
    assert (ready["Status"], ready["RequestedProvisionedConcurrentExecutions"]) == ("READY", 1)
    for qualified in (
        {"FunctionName": "radgate-local", "Qualifier": ALIAS},
        {"FunctionName": "radgate-local-worker"},
    ):
        facts = functions.get_function_configuration(**qualified)
        assert facts["Environment"]["Variables"][VARIABLE] == f"{tree}:0"
    rule = boto3.client("events", **place).describe_rule(Name=rule_name("local"))
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(5 minutes)", "ENABLED")
