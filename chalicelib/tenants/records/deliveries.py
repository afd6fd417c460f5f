"""Records of deliveries, in the index while they wait for their time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from zlib import crc32

from chalicelib.domain import Delivery
from chalicelib.tenants.records.place import FORGOTTEN_AT, moment, partition

if TYPE_CHECKING:
    from datetime import datetime

    from chalicelib.tenants.records.place import Item

EVENT_PREFIX = "EVENT#"
# What is due lies in so many partitions of the index, for no single one to take every write.
DUE_SHARDS = 4
# For so long the log tells of a delivery; then DynamoDB forgets it.
DELIVERY_LIFE = timedelta(days=30)


def delivery_key(client_id: str, event_id: str, channel: str) -> Item:
    """Return the primary key of an event's delivery over one channel."""
    return {"pk": partition(client_id), "sk": f"{EVENT_PREFIX}{event_id}#{channel}"}


def due_partition(shard: int) -> str:
    """Return the index's partition key of one shard of the deliveries that wait for their time."""
    return f"DUE#{shard}"


def due_at(at: datetime) -> str:
    """Return a time as it stands in the index: texts that sort as the times do."""
    return moment(at)


def delivery_item(delivery: Delivery) -> Item:
    """Return the record of a delivery; in the index only while there is something to be done."""
    item = delivery_key(delivery.client_id, delivery.id, delivery.channel) | {
        "status": delivery.status,
        "attempt": delivery.attempt,
        FORGOTTEN_AT: int((delivery.created_at + DELIVERY_LIFE).timestamp()),
        "document": delivery.model_dump_json(),
    }
    if delivery.status == "pending" and delivery.next_at is not None:
        shard = crc32(delivery.id.encode()) % DUE_SHARDS
        item |= {"gsi1pk": due_partition(shard), "gsi1sk": due_at(delivery.next_at)}
    return item


def delivery_of(item: Item) -> Delivery:
    """Return the delivery of a record."""
    return Delivery.model_validate_json(item["document"], extra="ignore")
