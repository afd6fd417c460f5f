"""Destroys what a stage has kept: clients, keys, studies, models and the key they lie under.

For good, but for the encryption key, which AWS gives 30 days of grace.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3

from admin_cli.console import CliError
from admin_cli.deploying.absent import tolerantly
from admin_cli.deploying.mail_identity import remove_mail_identity
from admin_cli.foundation import WAIT_SECONDS, delete_stack
from admin_cli.gateway import Gateway, gateway_client
from admin_cli.tenants.gateway_survey import Survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_apigateway.type_defs import PatchOperationTypeDef
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_efs import EFSClient

    from admin_cli.foundation import Foundation

_KEY_GRACE_DAYS = 30


def remove_data(
    stage: str, foundation: Foundation, functions: Iterable[str], tell: Callable[[str], None]
) -> None:
    """Destroy the data of `stage` and its stack, the stack last.

    `functions`: those whose logs go, too, as AWS names them. As long as the stack is there, its
    outputs name what is to be destroyed, so a run that was killed is finished by the next. Raises
    CliError and botocore's errors.
    """
    tell("deleting keys and usage plans")
    client = gateway_client(paced=stage != "local")
    gateway = Gateway(client, stage, "", "")
    keys = Survey(client, stage).keys()
    for key in keys:
        gateway.delete_key(key)
    for plan, facts in gateway.usage_plans().items():
        delete_plan(client, plan, facts)
    tell(f"deleting bucket {foundation.BucketName} and all that is in it")
    _delete_bucket(foundation.BucketName)
    tell(f"deleting table {foundation.TableName}")
    delete_table(boto3.client("dynamodb"), foundation.TableName)
    tell("deleting the functions' logs")
    _delete_logs(functions)
    if foundation.FileSystemId:
        tell(f"deleting file system {foundation.FileSystemId}")
        delete_file_system(boto3.client("efs"), foundation.FileSystemId)
    if foundation.KeyArn:
        tell(f"the encryption key will be deleted in {_KEY_GRACE_DAYS} days")
        tolerantly(
            lambda: boto3.client("kms").schedule_key_deletion(
                KeyId=foundation.KeyArn, PendingWindowInDays=_KEY_GRACE_DAYS
            ),
            "KMSInvalidStateException",  # on its way already
        )
    remove_mail_identity(stage, foundation.MailDomain, tell)
    delete_stack(stage, tell)


def delete_plan(client: APIGatewayClient, plan: str, facts: Mapping[str, Any]) -> None:
    """Delete a usage plan, which API Gateway refuses for one that still names an API's stage."""
    for one in facts.get("apiStages") or []:
        gone: PatchOperationTypeDef = {
            "op": "remove",
            "path": "/apiStages",
            "value": f"{one['apiId']}:{one['stage']}",
        }
        # The API is gone by now, and may be unknown to this call.
        release = partial(client.update_usage_plan, usagePlanId=plan, patchOperations=[gone])
        tolerantly(release, "BadRequestException")
    tolerantly(partial(client.delete_usage_plan, usagePlanId=plan))


def _delete_logs(functions: Iterable[str]) -> None:
    """Delete what the functions have logged: it names clients and studies."""
    client = boto3.client("logs")
    for function in functions:
        tolerantly(partial(client.delete_log_group, logGroupName=f"/aws/lambda/{function}"))


def _delete_bucket(name: str) -> None:
    bucket = boto3.resource("s3").Bucket(name)

    def empty_and_delete() -> None:
        bucket.object_versions.delete()
        bucket.objects.delete()
        bucket.delete()

    tolerantly(empty_and_delete)


def delete_table(client: DynamoDBClient, name: str) -> None:
    """Delete a table, and all that could bring it back, and wait until it is gone.

    None is no error, nor is one that an earlier run has sent away. Raises botocore's errors.
    """

    def unprotect_and_delete() -> None:
        if client.describe_table(TableName=name)["Table"].get("TableStatus") == "DELETING":
            return  # it takes no further change
        # Else AWS keeps a backup of its own, `<table>$DeletedTableBackup`, for 35 days.
        client.update_continuous_backups(
            TableName=name,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False},
        )
        client.update_table(TableName=name, DeletionProtectionEnabled=False)
        client.get_waiter("table_exists").wait(TableName=name)
        client.delete_table(TableName=name)

    tolerantly(unprotect_and_delete)
    client.get_waiter("table_not_exists").wait(TableName=name)


def delete_file_system(client: EFSClient, file_system: str) -> None:
    """Delete a file system, its mount targets first, which takes some minutes.

    None is no error. Raises CliError when the mount targets do not go, and botocore's errors.
    """

    def delete() -> None:
        for target in client.describe_mount_targets(FileSystemId=file_system)["MountTargets"]:
            # One that an earlier run has sent away may go in between.
            name = target["MountTargetId"]
            tolerantly(
                partial(client.delete_mount_target, MountTargetId=name), "MountTargetNotFound"
            )
        deadline = time.monotonic() + WAIT_SECONDS
        while client.describe_mount_targets(FileSystemId=file_system)["MountTargets"]:
            if time.monotonic() > deadline:
                raise CliError(f"the mount targets of {file_system} do not go: run it again later")
            time.sleep(2)
        client.delete_file_system(FileSystemId=file_system)

    tolerantly(delete)
