"""The counter of a client's studies: one item, for a busy client also shards that lease from it.

| attribute | of the counter, USAGE#<date>     | of a shard, USAGE#<date>#<number>     |
| --------- | -------------------------------- | ------------------------------------- |
| `used`    | units charged here or leased out | units charged here                    |
| `leased`  | of those, the units leased out   | units leased to it: it holds the rest |
| `limit`   | the quota under which they are   | the quota under which they were       |
| <day>     | units charged here on that day   | units charged here on that day        |

Every step is one transaction, so no crash leaves a unit between two items: what a shard holds is
there for the next request, whoever leased it. Leases are of one quota at a time; before there are
any of another one, the shards give back what they hold. So under a quota `used` of the counter
never passes it, and what is charged never passes `used`. A counter without `leased` never had
shards and is as it always was. The reasons are in docs/adr/0023-shards.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.tenants import records
from chalicelib.tenants.dynamo import Slice, query

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from chalicelib.tenants.records import Item

_OURS = "(attribute_not_exists(#leased) OR #limit = :limit)"


@dataclass(frozen=True, slots=True)
class Unit:
    """A way to charge one unit. `shard`: which one has it then; None: the counter itself."""

    shard: int | None = None
    writes: tuple[TransactWriteItemTypeDef, ...] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """How a counter stands. `whole`: its own item; `parts`: its shards by number."""

    whole: Item
    parts: Mapping[int, Item]

    @property
    def charged(self) -> int:
        """The units that studies have."""
        own = number(self.whole, "used") - number(self.whole, "leased")
        return own + sum(number(part, "used") for part in self.parts.values())

    @property
    def holdings(self) -> dict[int, int]:
        """The units that shards hold, by shard; without those that hold none."""
        held = {
            shard: number(part, "leased") - number(part, "used")
            for shard, part in self.parts.items()
        }
        return {shard: units for shard, units in held.items() if units > 0}


@dataclass(frozen=True, slots=True)
class Counter:
    """The counter of one client in the period that begins at `period`; units are those of `day`."""

    table: Table
    client_id: str
    period: datetime
    day: str = ""

    def charge(self, shard: int | None, limit: int) -> Unit:
        """Return the charge of one unit, refused where there is none of this quota."""
        left = "#used < #leased AND #limit = :limit"
        if shard is None:
            left = f"{_OURS} AND (attribute_not_exists(#used) OR #used < :limit)"
        values = {":limit": limit}
        return Unit(shard, (self.update(shard, "ADD #used :one, #day :one", left, values),))

    def lease(self, shard: int, block: int, limit: int) -> Unit:
        """Return the lease of a block together with the charge of its first unit."""
        values = {":limit": limit, ":block": block}
        out = "SET #limit = :limit ADD #used :block, #leased :block"
        enough = f"{_OURS} AND (attribute_not_exists(#used) OR #used <= :most)"
        into = "SET #limit = :limit ADD #leased :block, #used :one, #day :one"
        # Or what it holds of another quota would count as of this one.
        clean = f"{_OURS} OR #leased <= #used"
        return Unit(
            shard,
            (
                self.update(None, out, enough, values | {":most": limit - block}),
                self.update(shard, into, clean, values),
            ),
        )

    def adopt(self, limit: int, found: Counted) -> list[list[TransactWriteItemTypeDef]]:
        """Return the transactions, each on its own, that bring the counter under another quota.

        The shards give back what they hold; in a counter whose shards hold nothing, the quota is
        replaced. Each is refused when something has moved since it was `found` so.
        """
        same = "#used = :used AND #leased = :leased"
        if found.holdings:
            return [
                [
                    self.update(None, "ADD #used :back, #leased :back", "", {":back": -held}),
                    self.update(shard, "ADD #leased :back", same, _seen(found.parts[shard], -held)),
                ]
                for shard, held in found.holdings.items()
            ]
        leased = sum(number(part, "leased") for part in found.parts.values())
        if leased != number(found.whole, "leased"):
            return []  # a lease is under way, one half of which cannot be seen yet
        values = {":used": number(found.whole, "used"), ":leased": leased, ":limit": limit}
        return [[self.update(None, "SET #limit = :limit", same, values)]]

    def update(
        self, shard: int | None, change: str, condition: str = "", values: Item | None = None
    ) -> TransactWriteItemTypeDef:
        """Return the write that changes one item, by the names and values that the text uses."""
        text = f"{change} {condition}"
        names = {"#used": "used", "#leased": "leased", "#limit": "limit", "#day": self.day}
        write: TransactWriteItemTypeDef = {
            "Update": {
                "TableName": self.table.name,
                "Key": records.usage_key(self.client_id, self.period, shard),
                "UpdateExpression": change,
                # DynamoDB refuses what is named and not used.
                "ExpressionAttributeNames": {
                    place: name for place, name in names.items() if place in text
                },
                "ExpressionAttributeValues": {
                    place: value
                    for place, value in ({":one": 1, ":less": -1} | (values or {})).items()
                    if place in text
                },
            }
        }
        if condition:
            write["Update"]["ConditionExpression"] = condition
        return write


def standing(counter: Counter) -> Counted:
    """Return how a counter stands: one query. Raises StorageUnavailable."""
    key = records.usage_key(counter.client_id, counter.period)
    items = {item["sk"]: item for item in query(counter.table, Slice(key["pk"], key["sk"]))}
    whole = items.pop(key["sk"], {})
    return Counted(whole, {int(sk.rpartition("#")[2]): item for sk, item in items.items()})


def number(item: Item, name: str) -> int:
    """Return a count that an item has, 0 when it has none."""
    return int(str(item.get(name, 0)))


def _seen(item: Item, back: int) -> Item:
    return {":used": item["used"], ":leased": item["leased"], ":back": back}
