"""Destroys what a stage has kept: clients, keys, studies, models and the key they lie under.

For good, but for the encryption key, which AWS gives 30 days of grace.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from admin_cli.console import CliError
from admin_cli.foundation import WAIT_SECONDS, delete_stack
from admin_cli.gateway import Gateway, gateway_client, translated
from admin_cli.tenants.gateway_survey import Survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    from admin_cli.foundation import Foundation

_KEY_GRACE_DAYS = 30
_GONE = {
    "FileSystemNotFound",
    "KMSInvalidStateException",  # on its way already
    "NoSuchBucket",
    "NotFoundException",
    "ResourceNotFoundException",
    "TableNotFoundException",
}


def remove_data(stage: str, foundation: Foundation, tell: Callable[[str], None]) -> None:
    """Destroy the data of `stage` and its stack, the stack last.

    As long as the stack is there, its outputs name what is to be destroyed, so a run that was
    killed is finished by the next. Raises CliError and botocore's errors.
    """
    tell("deleting keys and usage plans")
    client = gateway_client(paced=stage != "local")
    gateway = Gateway(client, stage, "", "")
    keys = Survey(client, stage).keys()
    for key in keys:
        gateway.delete_key(key)
    for plan in gateway.usage_plans():
        # Its API is gone by now, and with it what held the plan.
        with translated(fine="NotFoundException"):
            client.delete_usage_plan(usagePlanId=plan)
    tell(f"deleting bucket {foundation.BucketName} and all that is in it")
    _delete_bucket(foundation.BucketName)
    tell(f"deleting table {foundation.TableName}")
    delete_table(boto3.client("dynamodb"), foundation.TableName)
    if foundation.FileSystemId:
        tell(f"deleting file system {foundation.FileSystemId}")
        _delete_file_system(foundation.FileSystemId)
    if foundation.KeyArn:
        tell(f"the encryption key will be deleted in {_KEY_GRACE_DAYS} days")
        _tolerantly(
            lambda: boto3.client("kms").schedule_key_deletion(
                KeyId=foundation.KeyArn, PendingWindowInDays=_KEY_GRACE_DAYS
            )
        )
    delete_stack(stage, tell)


def _delete_bucket(name: str) -> None:
    bucket = boto3.resource("s3").Bucket(name)

    def empty_and_delete() -> None:
        bucket.object_versions.delete()
        bucket.objects.delete()
        bucket.delete()

    _tolerantly(empty_and_delete)


def delete_table(client: DynamoDBClient, name: str) -> None:
    """Delete a table, and all that could bring it back; none is no error. Raises ClientError."""

    def unprotect_and_delete() -> None:
        # Else AWS keeps a backup of its own, `<table>$DeletedTableBackup`, for 35 days.
        client.update_continuous_backups(
            TableName=name,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False},
        )
        client.update_table(TableName=name, DeletionProtectionEnabled=False)
        client.get_waiter("table_exists").wait(TableName=name)
        client.delete_table(TableName=name)

    _tolerantly(unprotect_and_delete)


def _delete_file_system(file_system: str) -> None:
    """Delete a file system, its mount targets first, which takes some minutes."""
    client = boto3.client("efs")

    def delete() -> None:
        for target in client.describe_mount_targets(FileSystemId=file_system)["MountTargets"]:
            client.delete_mount_target(MountTargetId=target["MountTargetId"])
        deadline = time.monotonic() + WAIT_SECONDS
        while client.describe_mount_targets(FileSystemId=file_system)["MountTargets"]:
            if time.monotonic() > deadline:
                raise CliError(f"the mount targets of {file_system} do not go: run it again later")
            time.sleep(2)
        client.delete_file_system(FileSystemId=file_system)

    _tolerantly(delete)


def _tolerantly(remove: Callable[[], object]) -> None:
    try:
        remove()
    except ClientError as error:
        if error.response["Error"]["Code"] not in _GONE:
            raise
