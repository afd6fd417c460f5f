"""What the adapters share of DynamoDB: its exceptions translated, reads that come in parts."""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.tenants.records import Item

_BATCH = 100  # DynamoDB's limit of keys in one BatchGetItem
_TRIES = 5


@contextmanager
def translated() -> Iterator[None]:
    """Turn every failure of the table into StorageUnavailable, whose text repeats no data."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise StorageUnavailable("The table does not answer; please try again.") from error


def backoff(attempt: int) -> float:
    """Return the seconds to wait before try `attempt`: up to 0.025, 0.05, 0.1, … 0.8.

    Chance spreads those who collided over the whole span, so they do not collide again.
    """
    return random.uniform(0, min(0.8, 0.0125 * 2**attempt))  # noqa: S311 - not for secrecy


def batch_get(table: Table, keys: Sequence[Item]) -> list[Item]:
    """Return the items that exist under `keys`, read consistently, in the order of `keys`.

    Raises StorageUnavailable, also when DynamoDB keeps leaving keys unread.
    """
    found: dict[tuple[str, str], Item] = {}
    for first in range(0, len(keys), _BATCH):
        pending: Sequence[Any] = keys[first : first + _BATCH]
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(backoff(attempt))
            with translated():
                answer = table.meta.client.batch_get_item(
                    RequestItems={table.name: {"Keys": pending, "ConsistentRead": True}}
                )
            for item in answer["Responses"].get(table.name, []):
                found[str(item["pk"]), str(item["sk"])] = item
            pending = answer["UnprocessedKeys"].get(table.name, {"Keys": []})["Keys"]
            if not pending:
                break
        else:
            raise StorageUnavailable("The table is overloaded; please try again.")
    return [found[key["pk"], key["sk"]] for key in keys if (key["pk"], key["sk"]) in found]


def key_of(item: Item) -> Item:
    """Return the primary key of a record, or of its entry in an index."""
    return {"pk": item["pk"], "sk": item["sk"]}


@dataclass(frozen=True, slots=True)
class Slice:
    """The items of one partition, of the table or of an index, in the order of their sort key.

    `prefix`: only those whose sort key begins with it. `until`: only those whose sort key is this
    one at most; not together with `prefix`. `after`: only those that come after the
    item with this primary key, which need not exist any more.
    """

    partition: str
    prefix: str = ""
    until: str = ""
    index: str = ""
    newest_first: bool = False
    after: Item | None = None


def query(table: Table, wanted: Slice, at_most: int | None = None) -> list[Item]:
    """Return the items of a slice, at most `at_most`, over as many reads as it takes.

    Consistent, but for an index, which lags by a moment. Raises StorageUnavailable.
    """
    arguments: Item = {
        "KeyConditionExpression": "#pk = :pk",
        "ExpressionAttributeNames": {"#pk": f"{wanted.index}pk"},
        "ExpressionAttributeValues": {":pk": wanted.partition},
        "ScanIndexForward": not wanted.newest_first,
        "ConsistentRead": not wanted.index,
    }
    if wanted.prefix:
        arguments["KeyConditionExpression"] += " AND begins_with(#sk, :prefix)"
        arguments["ExpressionAttributeNames"]["#sk"] = f"{wanted.index}sk"
        arguments["ExpressionAttributeValues"][":prefix"] = wanted.prefix
    if wanted.until:
        arguments["KeyConditionExpression"] += " AND #sk <= :until"
        arguments["ExpressionAttributeNames"]["#sk"] = f"{wanted.index}sk"
        arguments["ExpressionAttributeValues"][":until"] = wanted.until
    if wanted.index:
        arguments["IndexName"] = wanted.index
    if wanted.after is not None:
        arguments["ExclusiveStartKey"] = wanted.after
    items: list[Item] = []
    while at_most is None or len(items) < at_most:
        if at_most is not None:
            arguments["Limit"] = at_most - len(items)
        with translated():
            answer = table.query(**arguments)
        items += answer["Items"]
        if "LastEvaluatedKey" not in answer:
            break
        arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
    return items


def query_behind(table: Table, index: Slice, at_most: int) -> list[Item]:
    """Return the items that an index's slice leads to, read consistently: the index lags.

    Those that are gone are left out. Raises StorageUnavailable.
    """
    return batch_get(table, [key_of(item) for item in query(table, index, at_most)])
