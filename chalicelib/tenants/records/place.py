"""What all records share: the index, the client's partition, times as text."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

INDEX = "gsi1"
# DynamoDB drops a record some time after this moment, in seconds since the epoch: up to two days
# later, so a reader must look at the time itself.
FORGOTTEN_AT = "expires_at_epoch"

Item = dict[str, Any]


def moment(at: datetime) -> str:
    """Return an aware time as text whose order is the order of time: always with microseconds."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def partition(client_id: str) -> str:
    """Return the partition key of everything that belongs to one client."""
    return f"CLIENT#{client_id}"
