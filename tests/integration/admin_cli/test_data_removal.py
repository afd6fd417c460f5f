"""The table of a stage goes for good: nothing of AWS's own brings it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from admin_cli.deploying.data_removal import delete_file_system, delete_plan, delete_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

NAME = "radgate-dev"


class Killed(BaseException):
    """What ends a run in the middle."""


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoDBClient]:
    """A table as the foundation makes it: protected, and with backups to any second."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        client = boto3.client("dynamodb")
        client.create_table(
            TableName=NAME,
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            DeletionProtectionEnabled=True,
        )
        client.update_continuous_backups(
            TableName=NAME,
            PointInTimeRecoverySpecification={
                "PointInTimeRecoveryEnabled": True,
                "RecoveryPeriodInDays": 7,
            },
        )
        yield client


def test_backups_are_off_before_the_table_goes(tables: DynamoDBClient) -> None:
    """With them on, AWS makes a backup of its own as it deletes, and keeps it for 35 days."""
    states: list[str] = []

    def look(**_: Any) -> None:
        found = tables.describe_continuous_backups(TableName=NAME)["ContinuousBackupsDescription"]
        states.append(found["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"])

    client = boto3.client("dynamodb")
    client.meta.events.register("before-call.dynamodb.DeleteTable", look)
    delete_table(client, NAME)
    assert states == ["DISABLED"]
    assert tables.list_tables()["TableNames"] == []
    delete_table(client, NAME)  # twice is no error


@pytest.mark.parametrize("at", ["UpdateContinuousBackups", "UpdateTable", "DeleteTable"])
def test_a_run_that_was_killed_is_finished_by_the_next(tables: DynamoDBClient, at: str) -> None:
    def kill(**_: Any) -> None:
        raise Killed

    client = boto3.client("dynamodb")
    client.meta.events.register(f"before-call.dynamodb.{at}", kill)
    with pytest.raises(Killed):
        delete_table(client, NAME)
    assert tables.list_tables()["TableNames"] == [NAME]
    delete_table(boto3.client("dynamodb"), NAME)
    assert tables.list_tables()["TableNames"] == []


def test_a_table_that_is_being_deleted_is_waited_for() -> None:
    """AWS takes some seconds for it and refuses each change meanwhile; no simulation does."""
    client: Any = boto3.client("dynamodb", region_name="eu-central-1")
    name = {"TableName": NAME}
    with Stubber(client) as calls:
        going = {"Table": {**name, "TableStatus": "DELETING"}}
        calls.add_response("describe_table", going, name)
        calls.add_client_error("describe_table", "ResourceNotFoundException", expected_params=name)
        delete_table(client, NAME)
        calls.assert_no_pending_responses()


@pytest.mark.parametrize("refused", [None, "NotFoundException", "BadRequestException"])
def test_a_usage_plan_is_freed_of_its_stage_before_it_goes(refused: str | None) -> None:
    """Else API Gateway refuses to delete it, which no simulation does."""
    client = boto3.client("apigateway", region_name="eu-central-1")
    with Stubber(client) as calls:
        patch = {"op": "remove", "path": "/apiStages", "value": "api1:v1"}
        wanted = {"usagePlanId": "plan1", "patchOperations": [patch]}
        if refused is None:
            calls.add_response("update_usage_plan", {}, wanted)
        else:  # its API went before
            calls.add_client_error("update_usage_plan", refused, expected_params=wanted)
        calls.add_response("delete_usage_plan", {}, {"usagePlanId": "plan1"})
        delete_plan(client, "plan1", {"apiStages": [{"apiId": "api1", "stage": "v1"}]})
        calls.add_client_error("delete_usage_plan", "NotFoundException")
        delete_plan(client, "plan1", {})
        calls.assert_no_pending_responses()


def test_a_mount_target_that_goes_by_itself_is_no_error() -> None:
    """A run that was killed has sent it away; the next one finds it on its way."""
    client = boto3.client("efs", region_name="eu-central-1")
    going = {
        "MountTargetId": "fsmt-0123456789abcdef0",
        "FileSystemId": "fs-0123456789abcdef0",
        "SubnetId": "subnet-0123456789abcdef0",
        "LifeCycleState": "deleting",
    }
    with Stubber(client) as calls:
        calls.add_response("describe_mount_targets", {"MountTargets": [going]})
        calls.add_client_error("delete_mount_target", "MountTargetNotFound")
        calls.add_response("describe_mount_targets", {"MountTargets": []})
        calls.add_response("delete_file_system", {})
        delete_file_system(client, "fs-0123456789abcdef0")
        calls.add_client_error("describe_mount_targets", "FileSystemNotFound")
        delete_file_system(client, "fs-0123456789abcdef0")
        calls.assert_no_pending_responses()
