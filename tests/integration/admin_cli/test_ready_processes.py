"""Processes that are not ready yet, or never get ready: what Lambda answers is played by a stub."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from admin_cli.console import CliError
from admin_cli.deploying.api_routes import ALIAS
from admin_cli.deploying.ready_processes import READY_SECONDS, ReadyProcesses

WHERE = {"FunctionName": "radgate-prod", "Qualifier": ALIAS}
NONE = "ProvisionedConcurrencyConfigNotFoundException"


class Lambda:
    """A client that is told what to answer, and the pauses that were made between."""

    def __init__(self) -> None:
        self.client = boto3.client("lambda", region_name="eu-central-1")
        self.stub = Stubber(self.client)
        self.pauses: list[float] = []
        self.told: list[str] = []

    def state(self, status: str, ready: int = 0, asked: int = 2, **more: Any) -> None:
        answer = {
            "RequestedProvisionedConcurrentExecutions": asked,
            "AvailableProvisionedConcurrentExecutions": ready,
            "Status": status,
            **more,
        }
        self.stub.add_response("get_provisioned_concurrency_config", answer, WHERE)

    def nothing(self) -> None:
        self.stub.add_client_error(
            "get_provisioned_concurrency_config", NONE, expected_params=WHERE
        )

    def taken(self) -> None:
        self.stub.add_response(
            "put_provisioned_concurrency_config",
            {"Status": "IN_PROGRESS"},
            {**WHERE, "ProvisionedConcurrentExecutions": 2},
        )

    @property
    def processes(self) -> ReadyProcesses:
        return ReadyProcesses(self.client, "radgate-prod", 2, self.pauses.append)

    def provide(self) -> None:
        with self.stub:
            self.processes.provide(self.told.append)
            self.stub.assert_no_pending_responses()


@pytest.fixture
def functions() -> Lambda:
    return Lambda()


def test_it_waits_until_they_are_ready_and_says_how_many_are(functions: Lambda) -> None:
    functions.nothing()
    functions.taken()
    functions.nothing()  # not known yet
    functions.state("IN_PROGRESS")
    functions.state("IN_PROGRESS", ready=1)
    functions.state("IN_PROGRESS", ready=1)
    functions.state("READY", ready=2)
    functions.provide()
    assert len(functions.pauses) == 4
    assert [line.rpartition(": ")[2] for line in functions.told] == [
        "2 processes are kept ready",
        "0 of 2 processes are ready",
        "1 of 2 processes are ready",
    ]


def test_a_run_that_was_killed_meanwhile_waits_on(functions: Lambda) -> None:
    functions.state("IN_PROGRESS", ready=1)
    functions.state("IN_PROGRESS", ready=1)
    functions.state("READY", ready=2)
    functions.provide()
    assert len(functions.pauses) == 1


def test_ready_ones_are_left_alone(functions: Lambda) -> None:
    functions.state("READY", ready=2)
    functions.state("READY", ready=2)
    functions.provide()
    assert (functions.pauses, functions.told) == ([], [])


def test_a_failure_is_an_error_with_lambdas_reason(functions: Lambda) -> None:
    functions.nothing()
    functions.taken()
    functions.state("FAILED", StatusReason="FUNCTION_ERROR_INIT_FAILURE")
    with pytest.raises(CliError, match="FUNCTION_ERROR_INIT_FAILURE"):
        functions.provide()


def test_what_failed_before_is_asked_for_again(functions: Lambda) -> None:
    functions.state("FAILED", StatusReason="once")
    functions.taken()
    functions.state("READY", ready=2)
    functions.provide()


def test_the_wait_has_an_end(functions: Lambda) -> None:
    functions.nothing()
    functions.taken()
    for _ in range(READY_SECONDS // 5):
        functions.state("IN_PROGRESS", ready=1)
    with pytest.raises(CliError, match="not ready after 15 minutes"):
        functions.provide()
    assert sum(functions.pauses) == READY_SECONDS


@pytest.mark.parametrize(
    ("status", "asked", "there"),
    [("READY", 2, True), ("IN_PROGRESS", 2, False), ("FAILED", 2, False), ("READY", 1, False)],
)
def test_only_as_many_as_are_wanted_and_ready_are_there(
    functions: Lambda, status: str, asked: int, *, there: bool
) -> None:
    functions.state(status, asked=asked)
    with functions.stub:
        assert functions.processes.are_there() is there
