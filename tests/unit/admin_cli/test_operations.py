"""docs/operations.md names commands that exist, and every alarm that can ring."""

from __future__ import annotations

import json
import re
from importlib import import_module
from itertools import pairwise
from typing import Any

import botocore.session
import pytest
import typer
from botocore import xform_name
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES
from typer.main import get_command

from admin_cli.cli import app
from tests.unit.documents import ROOT, Shown, commands

DOCUMENT = "operations.md"
TEXT = (ROOT / "docs" / DOCUMENT).read_text(encoding="utf-8")
SHOWN = commands(DOCUMENT)


def options_of(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("--")}


def exists_in_radgate(words: list[str]) -> None:
    """Fail unless this is a command of ours with these options and arguments."""
    command: Any = get_command(app)
    rest = list(words)
    while hasattr(command, "commands"):
        while rest[0].startswith("--"):  # each global option has a value
            assert rest[0] in {name for one in command.params for name in one.opts}
            del rest[:2]
        command = command.commands[rest.pop(0)]
    command.make_context("radgate", rest)


def exists_in_aws(words: list[str]) -> None:
    """Fail unless AWS has this operation, with these parameters, and none is missing."""
    service, operation, *rest = words
    model = botocore.session.get_session().get_service_model(service)
    names = {xform_name(name).replace("_", "-"): name for name in model.operation_names}
    shape = model.operation_model(names[operation]).input_shape
    assert shape is not None
    known = {f"--{xform_name(name).replace('_', '-')}": name for name in shape.members}
    given = options_of(rest)
    assert given <= set(known)
    assert set(shape.required_members) <= {known[option] for option in given}
    for option, value in pairwise(rest):
        if value.startswith("alias/"):  # some operations on keys take an id alone
            assert "alias name" in shape.members[known[option]].documentation


A_KEY_ID = "key_01JD3Z0V6W8Y2M4N6P8R0T2V4X"  # what is no id is refused before it is looked for


@pytest.mark.parametrize("shown", SHOWN, ids=lambda one: one.command)
def test_a_documented_command_exists(shown: Shown) -> None:
    program, *words = shown.words
    if program == "radgate":
        exists_in_radgate([A_KEY_ID if word == "KEY_ID" else word for word in words])
    else:
        assert program == "aws"
        exists_in_aws(words)


def test_every_policy_that_is_put_is_taken_away_again_and_names_a_role_that_is_there() -> None:
    put, gone = (
        {(aws["--role-name"], aws["--policy-name"]) for aws in calls_of("iam", operation)}
        for operation in ("put-role-policy", "delete-role-policy")
    )
    assert put == gone
    assert {role for role, _ in put} == {"radgate-prod-api_handler", "radgate-prod-data"}
    policies = (ROOT / ".chalice").glob("policy-prod-*.json")
    functions = {path.stem.removeprefix("policy-prod-") for path in policies}
    section = TEXT.partition("## Credentials of AWS are out")[2].partition("\n## ")[0]
    assert functions <= set(re.findall(r"`([a-z_]+)`", section))
    [document] = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    [statement] = json.loads(document)["Statement"]
    assert statement["Effect"] == "Deny"
    assert set(statement["Condition"]) == {"DateLessThan"}


def calls_of(service: str, operation: str) -> list[dict[str, str]]:
    """Return the options of each documented call of this operation of AWS."""
    found = [one.words for one in SHOWN if one.words[:3] == ["aws", service, operation]]
    return [dict(zip(words[3::2], words[4::2], strict=True)) for words in found]


def test_a_wrong_command_is_noticed() -> None:
    with pytest.raises(KeyError, match="creat"):
        exists_in_radgate(["clients", "creat", "x"])
    for wrong in (["doctor", "--fix"], ["keys", "revoke"], ["keys", "rotate", "k", "--overlap"]):
        with pytest.raises(typer.TyperException):
            exists_in_radgate(wrong)
    with pytest.raises(KeyError):
        exists_in_aws(["dynamodb", "restore-table"])
    with pytest.raises(AssertionError):
        exists_in_aws(["dynamodb", "describe-table", "--table", "x"])
    with pytest.raises(AssertionError):
        exists_in_aws(["dynamodb", "describe-table"])
    with pytest.raises(AssertionError):
        exists_in_aws(["kms", "disable-key", "--key-id", "alias/radgate-prod"])


def test_commands_within_sentences_exist() -> None:
    group: Any = get_command(app)
    for words in re.findall(r"`radgate ([a-z ]+)", TEXT):
        assert words.split()[0] in group.commands


def test_every_variable_of_aws_is_one_that_we_heed() -> None:
    """AWS_REGION, for one, is heeded by the AWS command line alone."""
    known = {name for one in BOTOCORE_DEFAUT_SESSION_VARIABLES.values() for name in listed(one[1])}
    named = set(re.findall(r"`(AWS_[A-Z_]+)`", TEXT))
    assert "AWS_DEFAULT_REGION" in named
    assert named <= known


def listed(names: str | list[str] | None) -> list[str]:
    return names if isinstance(names, list) else [names or ""]


def test_every_alarm_is_explained_and_no_other() -> None:
    template, problems = import_module("cfnlint.decode").decode(
        str(ROOT / ".chalice" / "foundation.yaml")
    )
    assert not problems
    ring = {
        one["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("radgate-${Stage}-")
        for one in dict(template["Resources"]).values()
        if one["Type"] == "AWS::CloudWatch::Alarm"
    }
    section = TEXT.partition("## What an alarm means")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)) == ring
