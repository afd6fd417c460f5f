"""The functions' log groups: made before they are written to, encrypted, and not kept for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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
    for name, found in unkept_logs(client, functions, days, key_arn):
        there = found
        if there is None:
            tell(f"log group {name}")
            there = _create(client, name, key_arn)
        if there.get("retentionInDays") != days:
            client.put_retention_policy(logGroupName=name, retentionInDays=days)
        if key_arn and there.get("kmsKeyId") != key_arn:
            client.associate_kms_key(logGroupName=name, kmsKeyId=key_arn)


def unkept_logs(
    client: CloudWatchLogsClient, functions: Iterable[str], days: int, key_arn: str
) -> Iterator[tuple[str, LogGroupTypeDef | None]]:
    """The log groups that are not as they should be, by name; None for one that is not there."""
    for function in functions:
        name = f"/aws/lambda/{function}"
        found = client.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        there = next((group for group in found if group.get("logGroupName") == name), None)
        kept = there is not None and there.get("retentionInDays") == days
        if not kept or (key_arn and there is not None and there.get("kmsKeyId") != key_arn):
            yield name, there


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
