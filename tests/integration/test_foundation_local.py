"""The foundation stack on the local AWS: changes are told, and what failed is made good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from admin_cli import emulator, foundation
from admin_cli.console import CliError
from admin_cli.deploying.foundation_plan import Change, foundation_changes
from admin_cli.foundation import TEMPLATE, apply_foundation, read_foundation, stack_inputs
from tests.local_aws import own_local_aws

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Killed(BaseException):
    """What ends a run in the middle."""


@pytest.fixture
def local_aws(tmp_path: Path) -> Iterator[None]:
    """The local AWS, with this process pointed at it."""
    with own_local_aws(tmp_path):
        yield


@pytest.mark.usefixtures("local_aws")
def test_the_local_aws_applies_it_too() -> None:
    told: list[str] = []
    assert apply_foundation("local", told.append) == apply_foundation("local", told.append)
    assert told[-1] == "stack radgate-local: no changes"
    table = boto3.client("dynamodb").describe_table(TableName=read_foundation("local").TableName)
    # The relaxed condition: a test's table may be deleted.
    assert not table["Table"]["DeletionProtectionEnabled"]


@pytest.mark.usefixtures("local_aws")
def test_a_table_that_a_killed_run_left_unprotected_is_protected_by_the_next(
    session: boto3.session.Session,
) -> None:
    """A stage that holds data, less its network, of which the local AWS lacks a type."""
    less = {"Network": "none"}

    def kill(**_: Any) -> None:
        raise Killed

    def protected() -> bool:
        table = boto3.client("dynamodb").describe_table(TableName="radgate-dev")["Table"]
        return table["DeletionProtectionEnabled"]

    session.events.register("before-call.cloudformation.UpdateStack", kill)
    with pytest.raises(Killed):
        apply_foundation("dev", instead=less)
    session.events.unregister("before-call.cloudformation.UpdateStack", kill)
    assert not protected()
    told: list[str] = []
    first = apply_foundation("dev", told.append, less)
    assert protected()
    assert apply_foundation("dev", told.append, less) == first
    assert told == ["stack radgate-dev: updating", "stack radgate-dev: no changes"]
    # `--dry-run` asks with the same ones, and so finds nothing to do either.
    [stack] = boto3.client("cloudformation").describe_stacks(StackName="radgate-dev")["Stacks"]
    present = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}
    wanted = {one["ParameterKey"]: one["ParameterValue"] for one in stack_inputs("dev", less)[0]}
    assert present == wanted


@pytest.mark.usefixtures("local_aws")
def test_the_local_aws_takes_network_mail_and_alarms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = tmp_path / "stages.toml"
    stages.write_text(
        '[local]\nnetwork = "new"\nmail_domain = "mail.example.org"\n'
        'alarm_email = "a@example.org"\n'
    )
    monkeypatch.setenv("RADGATE_STAGES", str(stages))
    made = apply_foundation("local")
    assert made.FunctionSubnetA != made.FunctionSubnetB
    assert made.AccessPointArn.rpartition("/")[2].startswith("fsap-")
    assert made.MailDomain == "mail.example.org"
    [file_system] = boto3.client("efs").describe_file_systems()["FileSystems"]
    assert file_system["Encrypted"]
    assert file_system["ThroughputMode"] == "elastic"
    names = {
        one["AlarmName"] for one in boto3.client("cloudwatch").describe_alarms()["MetricAlarms"]
    }
    assert "radgate-local-file-system" in names


@pytest.mark.usefixtures("local_aws")
def test_what_would_change_is_told_and_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert foundation_changes("local") == (Change("foundation", "create", "stack radgate-local"),)
    assert boto3.client("cloudformation").list_stacks()["StackSummaries"] == []
    apply_foundation("local")
    assert foundation_changes("local") == ()
    stages = tmp_path / "stages.toml"
    stages.write_text('[local]\nnetwork = "none"\nlog_days = 14\n')
    monkeypatch.setenv("RADGATE_STAGES", str(stages))
    changes = foundation_changes("local")
    assert Change("foundation", "modify", "ApiLog (AWS::Logs::LogGroup)") in changes
    assert {change.action for change in changes} == {"modify"}
    assert foundation_changes("local") == changes  # looking leaves nothing for the next look
    client = boto3.client("cloudformation")
    assert client.list_change_sets(StackName="radgate-local")["Summaries"] == []


NEVER_DONE = """
Resources:
  Handle: {Type: "AWS::CloudFormation::WaitConditionHandle"}
  Odd: {Type: "AWS::CloudFormation::WaitCondition", Properties: {Handle: !Ref Handle, Timeout: 1}}
"""


@pytest.mark.usefixtures("local_aws")
def test_a_failed_first_attempt_is_told_and_cleared_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed_with(NEVER_DONE, tmp_path, monkeypatch, reason="ROLLBACK_COMPLETE: Odd: ")
    told: list[str] = []
    assert apply_foundation("local", told.append).TableName == "radgate-local"
    assert told == [
        "stack radgate-local: removing what a failed first attempt left",
        "stack radgate-local: creating",
    ]


def test_a_failed_first_attempt_is_freed_of_its_protection_before_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stack is protected from the moment it is asked for, whatever becomes of it."""
    client: Any = boto3.client("cloudformation", region_name=emulator.REGION)
    monkeypatch.setattr(boto3, "client", lambda *_, **__: client)
    name = {"StackName": "radgate-dev"}
    failed = {**name, "StackStatus": "ROLLBACK_COMPLETE", "CreationTime": "2026-11-22T08:00:00Z"}
    with Stubber(client) as calls:
        calls.add_response("describe_stacks", {"Stacks": [failed]}, name)
        freed = {**name, "EnableTerminationProtection": False}
        calls.add_response("update_termination_protection", {}, freed)
        calls.add_response("delete_stack", {}, name)
        gone = "Stack with id radgate-dev does not exist"
        calls.add_client_error("describe_stacks", "ValidationError", gone, expected_params=name)
        made = dict.fromkeys(("TemplateBody", "Parameters", "Tags", "Capabilities"), ANY)
        wanted = {**name, **made, "EnableTerminationProtection": True}
        calls.add_client_error("create_stack", "LimitExceeded", expected_params=wanted)
        with pytest.raises(CliError, match="LimitExceeded"):
            apply_foundation("dev")
        calls.assert_no_pending_responses()


@pytest.mark.usefixtures("local_aws")
def test_a_failed_update_is_undone_and_does_not_stand_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = apply_foundation("local")
    added = NEVER_DONE.replace("Resources:", "")
    text = TEMPLATE.read_text(encoding="utf-8").replace("Resources:\n", f"Resources:\n{added}", 1)
    failed_with(text, tmp_path, monkeypatch, reason="UPDATE_ROLLBACK_COMPLETE: Odd: ")
    assert apply_foundation("local") == before


def failed_with(
    template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    path = tmp_path / "failing.yaml"
    path.write_text(template, encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(foundation, "TEMPLATE", path)
        with pytest.raises(CliError, match=reason) as caught:
            apply_foundation("local")
    assert "\n" not in caught.value.message
