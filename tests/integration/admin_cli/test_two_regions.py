"""One account has a stage once: roles are known by their names in all of its Regions. Over moto."""

from __future__ import annotations

import boto3
import pytest

from admin_cli.console import CliError
from admin_cli.deploying.live_changes import check_changes
from admin_cli.deploying.stage_settings import StageSettings

pytestmark = pytest.mark.usefixtures("account")


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
