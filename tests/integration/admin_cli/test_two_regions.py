"""One account has a stage once: roles are known by their names in all of its Regions. Over moto."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from admin_cli.console import CliError
from admin_cli.deploying.live_changes import check_changes
from admin_cli.deploying.stage_settings import StageSettings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        yield


def data_role(stage: str) -> None:
    boto3.client("iam").create_role(RoleName=f"radgate-{stage}-data", AssumeRolePolicyDocument="{}")


def test_a_stage_of_another_region_is_not_made_a_second_time() -> None:
    data_role("dev")
    with pytest.raises(CliError, match="radgate-dev-data, but no stack radgate-dev in this Region"):
        check_changes("dev", StageSettings())


def test_a_first_deploy_and_one_beside_another_stage_are_none() -> None:
    check_changes("dev", StageSettings())
    data_role("prod")
    check_changes("dev", StageSettings())


def test_a_stage_that_is_here_may_change() -> None:
    template = """{"Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": {
        "RoleName": "radgate-dev-data", "AssumeRolePolicyDocument": {}}}}}"""
    boto3.client("cloudformation").create_stack(StackName="radgate-dev", TemplateBody=template)
    check_changes("dev", StageSettings())
