"""Whose turn it is to have old studies erased, and how far that has come.

| what   | pk          | sk        | holds                                                |
| ------ | ----------- | --------- | ---------------------------------------------------- |
| turn   | SWEEP       | RETENTION | `client_id`: who had the last turn                   |
| erased | CLIENT#<id> | RETENTION | `study_id`: this study and all older ones are erased |

An erased study leaves a tombstone under its id for good. The second record keeps the sweeper from
reading all of them again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from ulid import ULID

from chalicelib.tenants import records
from chalicelib.tenants.dynamo import Slice, batch_get, query, translated
from chalicelib.tenants.transactions import is_refusal

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.domain import Client
    from chalicelib.tenants.records import Item

_TURN: Item = {"pk": "SWEEP", "sk": "RETENTION"}
_TIME = 10  # characters of an id, after its prefix, that tell its time in milliseconds
# Sorts before all that an id is made of: the first place behind an id.
_BEHIND = "!"


class DynamoRetentionStore:
    """Satisfies `ports.RetentionStore`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def turn(self, at_most: int) -> tuple[Client, ...]:
        """Return the clients whose turn it is, by id; after the last one it is the first one's.

        Raises StorageUnavailable.
        """
        with translated():
            last = self._table.get_item(Key=_TURN, ConsistentRead=True).get("Item")
        found: list[Item] = []
        if last is not None:
            behind = records.client_key(str(last["client_id"])) | {
                "gsi1pk": records.ALL_CLIENTS,
                "gsi1sk": last["client_id"],
            }
            wanted = Slice(records.ALL_CLIENTS, index=records.INDEX, after=behind)
            found = query(self._table, wanted, at_most)
        if not found:
            found = query(self._table, Slice(records.ALL_CLIENTS, index=records.INDEX), at_most)
        keys = [records.client_key(str(item["gsi1sk"])) for item in found]
        return tuple(records.client_of(item) for item in batch_get(self._table, keys))

    def note_turn(self, client_id: str) -> None:
        """Note that this client has had its turn, so that the next run goes on behind it.

        Raises StorageUnavailable.
        """
        with translated():
            self._table.put_item(Item=_TURN | {"client_id": client_id})

    def old(self, client_id: str, before: datetime, at_most: int) -> tuple[str, ...]:
        """Return the ids of studies made before `before`, oldest first, but for those noted.

        Reads nothing of younger studies. Raises StorageUnavailable.
        """
        with translated():
            noted = self._table.get_item(Key=_erased_key(client_id)).get("Item", {})
        first = records.STUDY_PREFIX + str(noted.get("study_id", "")) + _BEHIND
        bound = f"{records.STUDY_PREFIX}st_{str(ULID.from_datetime(before))[:_TIME]}"
        if first > bound:  # DynamoDB refuses such a pair
            return ()
        with translated():
            answer = self._table.query(
                KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :bound",
                ExpressionAttributeValues={
                    ":pk": records.partition(client_id),
                    ":first": first,
                    ":bound": bound,
                },
                Limit=at_most,
            )
        skipped = len(records.STUDY_PREFIX)
        return tuple(str(item["sk"])[skipped:] for item in answer["Items"])

    def note_erased(self, client_id: str, study_id: str) -> None:
        """Note that this study, and every older one of the client, was erased.

        Raises StorageUnavailable.
        """
        with translated():
            try:
                self._table.update_item(
                    Key=_erased_key(client_id),
                    UpdateExpression="SET study_id = :id",
                    ConditionExpression="attribute_not_exists(study_id) OR study_id < :id",
                    ExpressionAttributeValues={":id": study_id},
                )
            except ClientError as error:  # another run was further already
                if not is_refusal(error):
                    raise


def _erased_key(client_id: str) -> Item:
    return {"pk": records.partition(client_id), "sk": "RETENTION"}
