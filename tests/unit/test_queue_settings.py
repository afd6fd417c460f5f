"""What the queues, the functions and the code must agree on, though it stands in several files."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from admin_cli.deploying.stage_settings import stage_settings
from admin_cli.deploying.wiring import wires
from app import SWEEP_SECONDS
from chalicelib.domain import LEASE, MAX_ATTEMPTS, UPLOAD_LIFE
from tests.unit.test_policies import STAGES, foundation

CHALICE = Path(__file__).resolve().parents[2] / ".chalice"
JOB_QUEUES = ("Queue", "BulkQueue")


def queues() -> dict[str, dict[str, Any]]:
    document, problems = import_module("cfnlint.decode").decode(str(CHALICE / "foundation.yaml"))
    assert not problems
    return {name: document["Resources"][name]["Properties"] for name in JOB_QUEUES}


def function(stage: str, name: str) -> dict[str, Any]:
    config = json.loads((CHALICE / "config.json").read_text())
    whole = {key: config[key] for key in ("lambda_memory_size", "lambda_timeout")}
    return whole | dict(config["stages"][stage]["lambda_functions"][name])


@pytest.mark.parametrize("stage", STAGES)
def test_no_message_comes_again_while_a_worker_may_be_at_it(stage: str) -> None:
    timeout = function(stage, "worker")["lambda_timeout"]
    assert timeout == 900
    for queue in queues().values():
        assert queue["VisibilityTimeout"] > timeout


def test_a_message_is_dead_after_as_many_attempts_as_a_study_has() -> None:
    for queue in queues().values():
        assert queue["RedrivePolicy"]["maxReceiveCount"] == MAX_ATTEMPTS


def test_a_message_lives_longer_than_its_bytes() -> None:
    for queue in queues().values():
        assert queue["MessageRetentionPeriod"] > UPLOAD_LIFE.total_seconds()


def test_a_dead_worker_s_study_is_free_long_before_its_message_comes_again() -> None:
    for queue in queues().values():
        assert queue["VisibilityTimeout"] > LEASE.total_seconds()


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_of_the_sweeper_ends_before_the_next_one_and_before_its_function(stage: str) -> None:
    assert SWEEP_SECONDS < function(stage, "sweep")["lambda_timeout"] <= 60


@pytest.mark.parametrize("stage", STAGES)
def test_bulk_has_fewer_workers_than_what_somebody_waits_for(stage: str) -> None:
    first, bulk, _ = wires(foundation(stage), stage_settings(stage))
    assert bulk.concurrency < first.concurrency
