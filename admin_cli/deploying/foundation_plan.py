"""What applying the foundation would change, as CloudFormation itself works it out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from ulid import ULID

from admin_cli.console import CliError
from admin_cli.foundation import (
    CAPABILITIES,
    RETRY,
    STILLBORN,
    TEMPLATE,
    describe,
    stack_inputs,
    stack_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import DescribeChangeSetOutputTypeDef

_WAIT_SECONDS = 300
_NOTHING = ("didn't contain changes", "No updates are to be performed")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a deploy would do: `action` to `what`, in step `step`."""

    step: str
    action: str
    what: str


def foundation_changes(stage: str) -> tuple[Change, ...]:
    """Return what would change, by a change set that is deleted again.

    A stack that is not there would be made; no change set is asked for, as it would leave an
    empty stack behind. Raises CliError.
    """
    client: CloudFormationClient = boto3.client("cloudformation", config=RETRY)
    name = stack_name(stage)
    try:
        stack = describe(client, name)
        if stack is None or stack["StackStatus"] in STILLBORN:
            return (Change("foundation", "create", f"stack {name}"),)
        return tuple(_changes(client, name, stage))
    except (ClientError, BotoCoreError) as error:
        raise CliError(f"stack {name}: {error}") from error


def _changes(client: CloudFormationClient, name: str, stage: str) -> Iterator[Change]:
    parameters, tags = stack_inputs(stage)
    change_set = f"radgate-plan-{ULID()}"
    client.create_change_set(
        StackName=name,
        ChangeSetName=change_set,
        TemplateBody=TEMPLATE.read_text(encoding="utf-8"),
        Parameters=parameters,
        Tags=tags,
        Capabilities=CAPABILITIES,
        ChangeSetType="UPDATE",
    )
    try:
        found = _finished(client, name, change_set)
        while True:
            for entry in found.get("Changes", []):
                change = entry.get("ResourceChange", {})
                action = str(change.get("Action", "")).lower()
                if change.get("Replacement") == "True":
                    action = "replace"
                what = f"{change.get('LogicalResourceId')} ({change.get('ResourceType')})"
                yield Change("foundation", action, what)
            if not (token := found.get("NextToken")):
                return
            found = client.describe_change_set(
                StackName=name, ChangeSetName=change_set, NextToken=token
            )
    finally:
        client.delete_change_set(StackName=name, ChangeSetName=change_set)


def _finished(
    client: CloudFormationClient, name: str, change_set: str
) -> DescribeChangeSetOutputTypeDef:
    deadline = time.monotonic() + _WAIT_SECONDS
    pause = 0.1
    while True:
        found = client.describe_change_set(StackName=name, ChangeSetName=change_set)
        reason = found.get("StatusReason", "")
        if found["Status"] == "CREATE_COMPLETE" or any(text in reason for text in _NOTHING):
            return found
        if found["Status"] == "FAILED" or time.monotonic() > deadline:
            raise CliError(f"stack {name}: its changes cannot be worked out: {reason}")
        time.sleep(pause)
        pause = min(pause * 2, 5)
