"""What clients pay for: live studies, counted exactly, per calendar period."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.domain import Client, Usage
from chalicelib.tenants import periods, records
from chalicelib.tenants.dynamo import translated

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from chalicelib.domain import Job
    from chalicelib.ports import Clock


class DynamoLedger:
    """Reads the counters that `DynamoStudyStore` writes with each study."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def usage(self, client: Client) -> Usage:
        """Return the live studies of the current period. Raises StorageUnavailable."""
        quota, now = client.plan.studies, self._clock()
        begin = periods.start(quota, now)
        with translated():
            item = self._table.get_item(
                Key=records.usage_key(client.id, begin), ConsistentRead=True
            ).get("Item", {})
        return Usage(
            used=int(str(item.get("used", 0))),
            limit=quota.limit,
            period_start=begin,
            resets_at=periods.end(quota, now),
        )


def metering(table_name: str, client: Client, at: datetime) -> TransactWriteItemTypeDef:
    """Return the part of a transaction that meters one unit at `at`, or fails at the limit.

    Besides the period's sum the record counts each day under its date, so that a month can be
    invoiced whatever the plan's period is. That costs no further write: both lie in one item.
    """
    quota = client.plan.studies
    return {
        "Update": {
            "TableName": table_name,
            "Key": records.usage_key(client.id, periods.start(quota, at)),
            "UpdateExpression": "ADD #used :one, #day :one",
            "ConditionExpression": "attribute_not_exists(#used) OR #used < :limit",
            "ExpressionAttributeNames": {"#used": "used", "#day": periods.day(at)},
            "ExpressionAttributeValues": {":one": 1, ":limit": quota.limit},
        }
    }


def giving_back(table_name: str, job: Job) -> list[TransactWriteItemTypeDef]:
    """Return the write that takes a job's unit off the record and the day that were charged."""
    if job.metered_at is None or job.metered_period is None:
        return []
    return [
        {
            "Update": {
                "TableName": table_name,
                "Key": records.usage_key(job.client_id, job.metered_period),
                "UpdateExpression": "ADD #used :less, #day :less",
                "ExpressionAttributeNames": {"#used": "used", "#day": periods.day(job.metered_at)},
                "ExpressionAttributeValues": {":less": -1},
            }
        }
    ]
