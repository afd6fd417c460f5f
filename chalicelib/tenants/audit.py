"""The audit trail: entries that each hold the hash of the one before, written with the change.

One chain per table, so per stage:

| what  | pk    | sk                    | index gsi1                             |
| ----- | ----- | --------------------- | -------------------------------------- |
| entry | AUDIT | ENTRY#<12 digits>     | gsi1pk AUDIT#<client>, gsi1sk as sk    |
| head  | AUDIT | HEAD                  | `number` and `hash` of the last entry  |

A change, its entry and the new head are one transaction, which holds only while the head is the
one that was read. So no change goes without its entry, no entry without its change, and of two
writers at once one is refused and comes again behind the other: the chain cannot fork.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import AwareDatetime, Field

from chalicelib.domain import Value
from chalicelib.errors import StorageUnavailable
from chalicelib.tenants.dynamo import Slice, backoff, batch_get, query, translated
from chalicelib.tenants.records import INDEX
from chalicelib.tenants.transactions import NEW, TRIES, put, write_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from chalicelib.ports import Clock
    from chalicelib.tenants.records import Item

PARTITION = "AUDIT"
ENTRY_PREFIX = "ENTRY#"
HEAD_KEY = {"pk": PARTITION, "sk": "HEAD"}
_PAGE = 500


class AuditEntry(Value):
    """Who changed what, when, and how it was before and after; None: there was, or is, nothing.

    `previous`: the hash of the entry before, of 64 hex digits. Never holds a secret.
    """

    number: int = Field(ge=1)
    at: AwareDatetime
    actor: str
    action: str
    subject: str
    client_id: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    previous: str

    def document(self) -> str:
        """Return the text that is stored and hashed: one writing of each entry, and only one."""
        return json.dumps(
            self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be written, and how the trail tells it. `writes`: at most 98."""

    action: str
    subject: str
    client_id: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    writes: Sequence[TransactWriteItemTypeDef] = ()


class Trail:
    """Writes changes with their entries, and reads entries. May raise StorageUnavailable.

    `actor` names who is at work; it is asked only when something is written. `pause` waits for
    as many seconds as it is told.
    """

    def __init__(
        self,
        table: Table,
        actor: Callable[[], str],
        clock: Clock,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._table = table
        self._actor = actor
        self._clock = clock
        self._pause = pause

    def commit(self, plan: Callable[[], Change | None]) -> AuditEntry | None:
        """Write what `plan` returns together with its entry, all or nothing.

        `plan` reads what it needs and returns None when there is nothing to change. It is called
        anew, to read and decide again, whenever the write was refused or came in the way of
        another: by then somebody else may have been quicker. As the head was read before, no other
        change of this trail can lie between its reads and its writes.
        """
        for attempt in range(1, TRIES + 1):
            number, previous = self.head()
            change = plan()
            if change is None:
                return None
            entry = AuditEntry(
                number=number + 1,
                at=self._clock(),
                actor=self._actor(),
                action=change.action,
                subject=change.subject,
                client_id=change.client_id,
                before=change.before,
                after=change.after,
                previous=previous,
            )
            refusals = write_once(self._table, [*change.writes, *self._links(entry)])
            if {*refusals} == {"None"}:
                return entry
            self._pause(backoff(attempt))
        raise StorageUnavailable("Too many changes are made at once; please try again.")

    def head(self) -> tuple[int, str]:
        """Return number and hash of the last entry; 0 and the chain's origin when there is none."""
        with translated():
            item = self._table.get_item(Key=HEAD_KEY, ConsistentRead=True).get("Item")
        if item is None:
            return 0, origin(self._table.name)
        return int(str(item["number"])), str(item["hash"])

    def records(self) -> Iterator[Item]:
        """Yield the stored entries, first to last, read in parts."""
        after = None
        while True:
            found = query(self._table, Slice(PARTITION, ENTRY_PREFIX, after=after), _PAGE)
            yield from found
            if len(found) < _PAGE:
                return
            after = {"pk": PARTITION, "sk": found[-1]["sk"]}

    def latest(self, limit: int, client_id: str | None = None) -> tuple[AuditEntry, ...]:
        """Return at most `limit` entries, newest first; those of one client alone if told so.

        With a client, an entry of the last second may be missing: the index lags.
        """
        if client_id is None:
            found = query(self._table, Slice(PARTITION, ENTRY_PREFIX, newest_first=True), limit)
        else:
            wanted = Slice(index_partition(client_id), index=INDEX, newest_first=True)
            keys = [entry_key(item["gsi1sk"]) for item in query(self._table, wanted, limit)]
            found = batch_get(self._table, keys)
        return tuple(AuditEntry.model_validate_json(item["document"]) for item in found)

    def _links(self, entry: AuditEntry) -> list[TransactWriteItemTypeDef]:
        """Return the entry and the move of the head, on condition that the head is unmoved."""
        item = entry_item(entry)
        moved: TransactWriteItemTypeDef = {
            "Update": {
                "TableName": self._table.name,
                "Key": HEAD_KEY,
                "UpdateExpression": "SET #number = :number, #hash = :hash",
                "ConditionExpression": NEW
                if entry.number == 1
                else "#hash = :previous AND #number < :number",
                "ExpressionAttributeNames": {"#number": "number", "#hash": "hash"},
                "ExpressionAttributeValues": {":number": entry.number, ":hash": item["hash"]}
                | ({} if entry.number == 1 else {":previous": entry.previous}),
            }
        }
        return [put(self._table, item), moved]


def origin(table_name: str) -> str:
    """Return what the first entry follows: no entry of one stage can begin another's chain."""
    return sha256(f"radgate audit trail of {table_name}")


def sha256(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8, as 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def entry_key(sort_key: str) -> Item:
    """Return the primary key of an entry."""
    return {"pk": PARTITION, "sk": sort_key}


def sort_key(number: int) -> str:
    """Return the sort key of an entry; entries sort by their number."""
    return f"{ENTRY_PREFIX}{number:012d}"


def index_partition(client_id: str) -> str:
    """Return the index's partition key of the entries about one client."""
    return f"{PARTITION}#{client_id}"


def entry_item(entry: AuditEntry) -> Item:
    """Return the record of an entry."""
    document, place = entry.document(), sort_key(entry.number)
    item: Item = entry_key(place) | {"document": document, "hash": sha256(document)}
    if entry.client_id is not None:
        item |= {"gsi1pk": index_partition(entry.client_id), "gsi1sk": place}
    return item
