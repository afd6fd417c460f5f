"""Whose turn it is to have old studies erased, and how far that has come.

| what   | pk          | sk        | holds                                                |
| ------ | ----------- | --------- | ---------------------------------------------------- |
| turn   | SWEEP       | RETENTION | `client_id`: who had the last turn                   |
| erased | CLIENT#<id> | RETENTION | `study_id`: this study and all older ones are erased |

An erased study leaves a tombstone under its id for good. The second record keeps the sweeper from
reading all of them again. It also holds `left`, the older ones that could not be erased, and
`looked_at`, when the client's documents were looked through.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from ulid import ULID

from chalicelib.tenants import records
from chalicelib.tenants.dynamo import Slice, batch_get, query, translated
from chalicelib.tenants.reading import readable
from chalicelib.tenants.transactions import is_refusal

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.domain import Client
    from chalicelib.ports import Unreadable
    from chalicelib.tenants.records import Item

_TURN: Item = {"pk": "SWEEP", "sk": "RETENTION"}
_TIME = 10  # characters of an id, after its prefix, that tell its time in milliseconds
# Sorts before all that an id is made of: the first place behind an id.
_BEHIND = "!"
# So many studies of a client may be left at most: fewer than one of its turns reads, so that a
# turn always reads others as well.
MOST_LEFT = 25


class DynamoRetentionStore:
    """Satisfies `ports.RetentionStore`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def turn(self, at_most: int, unreadable: Unreadable | None = None) -> tuple[Client, ...]:
        """Return the clients whose turn it is, by id; after the last one it is the first one's.

        `unreadable` is told of records that do not validate: their clients have no turn, since
        nobody knows their retention, and hold up nobody. Raises StorageUnavailable.
        """
        with translated():
            last = self._table.get_item(Key=_TURN, ConsistentRead=True).get("Item")
        noted = (last or {}).get("client_id")
        begin = None if noted is None else str(noted)
        for start in dict.fromkeys((begin, None)):
            behind = start
            while ids := self._behind(behind, at_most):
                items = batch_get(self._table, [records.client_key(one) for one in ids])
                clients = tuple(readable(items, records.client_of, unreadable))
                if clients:
                    return clients
                behind = ids[-1]
        return ()

    def _behind(self, client_id: str | None, at_most: int) -> list[str]:
        """Return the ids of the clients behind this one, from the first one on for None."""
        behind = None
        if client_id is not None:
            behind = records.client_key(client_id) | {
                "gsi1pk": records.ALL_CLIENTS,
                "gsi1sk": client_id,
            }
        wanted = Slice(records.ALL_CLIENTS, index=records.INDEX, after=behind)
        return [str(item["gsi1sk"]) for item in query(self._table, wanted, at_most)]

    def note_turn(self, client_id: str) -> None:
        """Note that this client has had its turn, so that the next run goes on behind it.

        Raises StorageUnavailable.
        """
        with translated():
            self._table.put_item(Item=_TURN | {"client_id": client_id})

    def old(self, client_id: str, before: datetime, at_most: int) -> tuple[str, ...]:
        """Return the ids of studies made before `before`, oldest first, but for those noted.

        Those that were left come first. Reads nothing of younger studies. Raises
        StorageUnavailable.
        """
        noted = self._noted(client_id)
        oldest_kept = f"st_{str(ULID.from_datetime(before))[:_TIME]}"
        left = sorted(one for one in noted.get("left", ()) if one < oldest_kept)
        first = records.STUDY_PREFIX + str(noted.get("study_id", "")) + _BEHIND
        bound = records.STUDY_PREFIX + oldest_kept
        if first > bound:  # DynamoDB refuses such a pair
            return tuple(left)
        with translated():
            answer = self._table.query(
                KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :bound",
                ExpressionAttributeValues={
                    ":pk": records.partition(client_id),
                    ":first": first,
                    ":bound": bound,
                },
                Limit=max(1, at_most - len(left)),
            )
        skipped = len(records.STUDY_PREFIX)
        further = (str(item["sk"])[skipped:] for item in answer["Items"])
        return tuple(dict.fromkeys([*left, *further]))

    def note_erased(self, client_id: str, study_id: str) -> None:
        """Note that this study, and every older one of the client that was not left, was erased.

        Raises StorageUnavailable.
        """
        if not self._move_on(client_id, study_id):  # it had been left, or another run was faster
            self._update(client_id, "DELETE #left :one", {":one": {study_id}})

    def note_left(self, client_id: str, study_id: str) -> bool:
        """Note that this study could not be erased, so that younger ones need not wait for it.

        False, and nothing is noted, when 25 of the client were left already. Raises
        StorageUnavailable.
        """
        noted = self._update(
            client_id,
            "ADD #left :one",
            {":one": {study_id}, ":id": study_id, ":most": MOST_LEFT},
            "attribute_not_exists(#left) OR contains(#left, :id) OR size(#left) < :most",
        )
        # After that: a crash between the two has the study come twice, and not never.
        if noted:
            self._move_on(client_id, study_id)
        return noted

    def looked_at(self, client_id: str) -> datetime | None:
        """Return when the client's documents were last looked through, None for never.

        Raises StorageUnavailable.
        """
        at = self._noted(client_id).get("looked_at")
        return None if at is None else datetime.fromisoformat(str(at))

    def note_look(self, client_id: str, at: datetime) -> None:
        """Note that the client's documents were looked through. Raises StorageUnavailable."""
        self._update(client_id, "SET looked_at = :at", {":at": records.moment(at)})

    def _noted(self, client_id: str) -> Item:
        with translated():
            return self._table.get_item(Key=_erased_key(client_id)).get("Item", {})

    def _move_on(self, client_id: str, study_id: str) -> bool:
        return self._update(
            client_id,
            "SET study_id = :id",
            {":id": study_id},
            "attribute_not_exists(study_id) OR study_id < :id",
        )

    def _update(self, client_id: str, change: str, values: Item, condition: str = "") -> bool:
        """Change what is noted of a client; tell whether the condition let it."""
        further: Item = {"ConditionExpression": condition} if condition else {}
        if "#left" in change:
            further["ExpressionAttributeNames"] = {"#left": "left"}
        with translated():
            try:
                self._table.update_item(
                    Key=_erased_key(client_id),
                    UpdateExpression=change,
                    ExpressionAttributeValues=values,
                    **further,
                )
            except ClientError as error:
                if not is_refusal(error):
                    raise
                return False
        return True


def _erased_key(client_id: str) -> Item:
    return {"pk": records.partition(client_id), "sk": "RETENTION"}
