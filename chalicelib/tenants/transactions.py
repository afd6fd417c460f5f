"""Hides how several writes become one: all or nothing, tried again while others are in the way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from chalicelib.errors import StorageUnavailable
from chalicelib.tenants.dynamo import backoff, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from chalicelib.ports import Clock
    from chalicelib.tenants.records import Item

TRIES = 32  # about twelve seconds of waiting: a hundred studies at once get through
REFUSED = "ConditionalCheckFailed"
# DynamoDB cancels one of two transactions that touch the same item at the same moment.
_PASSING = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
NEW = "attribute_not_exists(pk)"
THERE = "attribute_exists(pk)"


class Store:
    """What changes the table by transactions. `pause` waits for as many seconds as it is told."""

    def __init__(
        self, table: Table, clock: Clock, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self.table = table
        self.clock = clock
        self.pause = pause


def put(
    table: Table,
    item: Item,
    condition: str = NEW,
    values: Mapping[str, Any] | None = None,
    names: Mapping[str, str] | None = None,
) -> TransactWriteItemTypeDef:
    """Return the part of a transaction that stores `item` if `condition` holds.

    `values` and `names`: what the condition calls ``:value`` and ``#name``.
    """
    write: TransactWriteItemTypeDef = {
        "Put": {"TableName": table.name, "Item": item, "ConditionExpression": condition}
    }
    # DynamoDB refuses empty ones.
    if values:
        write["Put"]["ExpressionAttributeValues"] = values
    if names:
        write["Put"]["ExpressionAttributeNames"] = names
    return write


def transact(
    table: Table,
    writes: Sequence[TransactWriteItemTypeDef],
    pause: Callable[[float], None] = time.sleep,
) -> tuple[bool, ...]:
    """Make all writes or none; return for each whether its own condition refused it.

    All False: they are made. What stands in the way of another transaction is no refusal and is
    tried again, after `pause` waited for as many seconds as it was told. Raises StorageUnavailable.
    """
    for attempt in range(1, TRIES + 1):
        codes = write_once(table, writes)
        if _PASSING.isdisjoint(codes):
            return tuple(code == REFUSED for code in codes)
        pause(backoff(attempt))
    raise StorageUnavailable("Too many studies arrive at once; please try again.")


def is_refusal(error: ClientError) -> bool:
    """Tell whether the condition of a single write refused it."""
    return error.response["Error"].get("Code") == f"{REFUSED}Exception"


def write_once(table: Table, writes: Sequence[TransactWriteItemTypeDef]) -> list[str]:
    """Try once to make all writes or none; return for each why it was refused, "None" if not.

    The reasons are those that another try may not meet: a condition, or what stands in the way
    for now, another transaction or too many. Raises StorageUnavailable for any other.
    """
    with translated():
        try:
            table.meta.client.transact_write_items(TransactItems=writes)
        except ClientError as error:
            reasons = error.response.get("CancellationReasons", [])
            codes = [str(reason.get("Code", "None")) for reason in reasons]
            if {REFUSED, *_PASSING}.isdisjoint(codes):
                raise
            return codes
    return ["None"] * len(writes)
