"""The functions' log groups: made before they are written to, encrypted, and not kept for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_logs.type_defs import LogGroupTypeDef


def keep_logs(
    client: CloudWatchLogsClient,
    functions: Iterable[str],
    days: int,
    key_arn: str,
    tell: Callable[[str], None],
) -> None:
    """Give the log group of each function its retention in days and, if there is one, its key.

    Left to Lambda, a group comes with the first line and keeps it for ever. Raises ClientError.
    """
    for function in functions:
        name = f"/aws/lambda/{function}"
        there = next(
            (
                group
                for group in client.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
                if group.get("logGroupName") == name
            ),
            None,
        )
        if there is None:
            tell(f"log group {name}")
            there = _create(client, name, key_arn)
        if there.get("retentionInDays") != days:
            client.put_retention_policy(logGroupName=name, retentionInDays=days)
        if key_arn and there.get("kmsKeyId") != key_arn:
            client.associate_kms_key(logGroupName=name, kmsKeyId=key_arn)


def _create(client: CloudWatchLogsClient, name: str, key_arn: str) -> LogGroupTypeDef:
    try:
        if key_arn:
            client.create_log_group(logGroupName=name, kmsKeyId=key_arn)
        else:
            client.create_log_group(logGroupName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
            raise
        return {}  # the function wrote its first line in between
    return {"kmsKeyId": key_arn}
