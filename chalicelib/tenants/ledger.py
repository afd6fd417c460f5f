"""What clients pay for: live studies, counted exactly, per calendar period."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.domain import Client, Usage
from chalicelib.tenants import periods, records
from chalicelib.tenants.counter import Counter, number, standing
from chalicelib.tenants.dynamo import translated
from chalicelib.tenants.metering import shards

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.ports import Clock


class DynamoLedger:
    """Reads the counters that are written with each study."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def usage(self, client: Client) -> Usage:
        """Return the live studies of the current period. Raises StorageUnavailable."""
        quota, now = client.plan.studies, self._clock()
        begin = periods.start(quota, now)
        return Usage(
            used=self._charged(client, begin),
            limit=quota.limit,
            period_start=begin,
            resets_at=periods.end(quota, now),
        )

    def _charged(self, client: Client, begin: datetime) -> int:
        counter = Counter(self._table, client.id, begin)
        if not shards(client.plan):
            with translated():
                key = records.usage_key(client.id, begin)
                item = self._table.get_item(Key=key, ConsistentRead=True).get("Item", {})
            if "leased" not in item:  # else it had another plan in this period
                return number(item, "used")
        return standing(counter).charged
