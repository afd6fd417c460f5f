"""Clients and keys as the request path reads them: always consistently, never by a scan."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from chalicelib.domain import Caller
from chalicelib.tenants import records
from chalicelib.tenants.dynamo import Slice, batch_get, query, translated
from chalicelib.tenants.transactions import is_refusal

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.domain import ApiKey, Client
    from chalicelib.tenants.records import Item

NOTED_EVERY = timedelta(minutes=1)
# What a list shows: more than a client may have of keys that work, and the last of the others.
MOST_WORKING = 250
MOST_ENDED = 20


class DynamoDirectory:
    """Reads clients and keys from the table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def identify(self, sha256: str) -> Caller | None:
        """Return whose key has this SHA-256, whatever its state. Raises StorageUnavailable.

        Costs two round trips and three read units, one more of each for a key that was revoked.
        The pointer never changes, so what it leads to is read afterwards and is as fresh as a
        single read would be.
        """
        with translated():
            pointer = self._table.get_item(
                Key=records.hash_pointer_key(sha256), ConsistentRead=True
            ).get("Item")
        if pointer is None:
            return None
        client_id, key_id = str(pointer["client_id"]), str(pointer["key_id"])
        owner = records.client_key(client_id)
        found = batch_get(self._table, [owner, records.api_key_key(client_id, key_id)])
        if not found or found[0]["sk"] != owner["sk"]:  # the client is being deleted
            return None
        # Second, so that a key which ends meanwhile is in one of both places.
        key = found[1:] or batch_get(self._table, [records.ended_key_key(client_id, key_id)])
        if not key:  # it is being deleted
            return None
        return Caller(client=records.client_of(found[0]), key=records.api_key_of(key[0]))

    def client(self, client_id: str) -> Client | None:
        """Return a client as it is now, None when there is none. Raises StorageUnavailable."""
        items = batch_get(self._table, [records.client_key(client_id)])
        return records.client_of(items[0]) if items else None

    def keys(self, client_id: str) -> tuple[ApiKey, ...]:
        """Return the client's keys that work, and of the others the last 20; oldest first.

        Two queries, however many keys the client ever had: those that ended lie apart. Raises
        StorageUnavailable.
        """
        working = self._newest(client_id, records.KEY_PREFIX, MOST_WORKING)
        ended = self._newest(client_id, records.ENDED_KEY_PREFIX, MOST_ENDED)
        # A key that ended between the two reads is in both, as it was and as it is.
        keys = {str(item["id"]): records.api_key_of(item) for item in [*working, *ended]}
        return tuple(keys[key_id] for key_id in sorted(keys))

    def _newest(self, client_id: str, prefix: str, at_most: int) -> list[Item]:
        wanted = Slice(records.partition(client_id), prefix, newest_first=True)
        return query(self._table, wanted, at_most)

    def note_use(self, key: ApiKey, at: datetime) -> None:
        """Note that a key was used, unless that was noted less than a minute before `at`.

        One write unit, also when another process was quicker. Raises StorageUnavailable.
        """
        with translated():
            try:
                self._table.update_item(
                    Key=records.api_key_key(key.client_id, key.id),
                    UpdateExpression="SET last_used_at = :at",
                    # The first part: a key that was removed meanwhile must not come back.
                    ConditionExpression="attribute_exists(pk) AND "
                    "(attribute_not_exists(last_used_at) OR last_used_at <= :before)",
                    ExpressionAttributeValues={
                        ":at": _text(at),
                        ":before": _text(at - NOTED_EVERY),
                    },
                )
            except ClientError as error:
                if not is_refusal(error):
                    raise


def _text(moment: datetime) -> str:
    """Return a time in the one form whose texts sort as the times do."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")
