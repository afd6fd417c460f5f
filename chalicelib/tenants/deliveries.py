"""Deliveries in the table: each in its client's partition, in the index while it waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from chalicelib.domain import StudyStatus
from chalicelib.tenants import records
from chalicelib.tenants.dynamo import Slice, batch_get, query, query_behind, translated
from chalicelib.tenants.reading import readable
from chalicelib.tenants.transactions import NEW, is_refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.domain import Delivery
    from chalicelib.ports import Unreadable

# How many of one shard are read at once, and at most yielded: the next sweep sees what is left.
DUE_AT_ONCE = 250


class DynamoDeliveryStore:
    """Keeps deliveries in the table. Every method raises StorageUnavailable."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, client_id: str, event_id: str, channel: str) -> Delivery | None:
        """Return a delivery as it is now, None when there is no such one."""
        found = batch_get(self._table, [records.delivery_key(client_id, event_id, channel)])
        return records.delivery_of(found[0]) if found else None

    def add(self, delivery: Delivery) -> None:
        """Store a delivery that no study's end has stored; one that is there stays as it is."""
        self._put(delivery, {"ConditionExpression": NEW})

    def advance(self, before: Delivery, after: Delivery) -> bool:
        """Replace `before`, if it still stands, by `after`. False when another was faster.

        Status, number of tries and time of the next one tell how a delivery stands. One that was
        erased with its client does not come back.
        """
        was = records.delivery_item(before)
        names = {"#status": "status", "#attempt": "attempt", "#due": "gsi1sk"}
        values: dict[str, Any] = {":status": was["status"], ":attempt": was["attempt"]}
        condition = "#status = :status AND #attempt = :attempt AND "
        if "gsi1sk" in was:
            condition += "#due = :due"
            values[":due"] = was["gsi1sk"]
        else:
            condition += "attribute_not_exists(#due)"
        return self._put(
            after,
            {
                "ConditionExpression": condition,
                "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": values,
            },
        )

    def due(self, now: datetime, unreadable: Unreadable | None = None) -> Iterator[Delivery]:
        """Yield pending deliveries whose `next_at` has come, the longest waiting of each shard.

        `unreadable` is told of records that do not validate; they are passed over.
        """
        for shard in range(records.DUE_SHARDS):
            wanted = Slice(
                records.due_partition(shard), index=records.INDEX, until=records.due_at(now)
            )
            found = query_behind(self._table, wanted, DUE_AT_ONCE)
            for delivery in readable(found, records.delivery_of, unreadable):
                # The index lags: it may have been made meanwhile.
                if delivery.next_at is not None and delivery.next_at <= now:
                    yield delivery

    def erased(self, client_id: str, study_id: str) -> bool:
        """Tell whether a study was erased, so that nobody is to be told of it any more."""
        found = batch_get(self._table, [records.study_key(client_id, study_id)])
        return bool(found) and found[0].get("status") == StudyStatus.DELETED.value

    def log(self, client_id: str, limit: int) -> tuple[Delivery, ...]:
        """Return at most `limit` of a client's deliveries, the newest event first."""
        wanted = Slice(records.partition(client_id), records.EVENT_PREFIX, newest_first=True)
        return tuple(records.delivery_of(item) for item in query(self._table, wanted, limit))

    def _put(self, delivery: Delivery, condition: dict[str, Any]) -> bool:
        with translated():
            try:
                self._table.put_item(Item=records.delivery_item(delivery), **condition)
            except ClientError as error:
                if not is_refusal(error):
                    raise
                return False
        return True
