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

NOTED_EVERY = timedelta(minutes=1)


class DynamoDirectory:
    """Reads clients and keys from the table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def identify(self, sha256: str) -> Caller | None:
        """Return whose key has this SHA-256, whatever its state. Raises StorageUnavailable.

        Costs two round trips and three read units. The pointer never changes, so what it
        leads to is read afterwards and is as fresh as a single read would be.
        """
        with translated():
            pointer = self._table.get_item(
                Key=records.hash_pointer_key(sha256), ConsistentRead=True
            ).get("Item")
        if pointer is None:
            return None
        client_id, key_id = str(pointer["client_id"]), str(pointer["key_id"])
        items = batch_get(
            self._table, [records.client_key(client_id), records.api_key_key(client_id, key_id)]
        )
        if len(items) != 2:  # noqa: PLR2004 - a client, or its key, is being deleted
            return None
        return Caller(client=records.client_of(items[0]), key=records.api_key_of(items[1]))

    def client(self, client_id: str) -> Client | None:
        """Return a client as it is now, None when there is none. Raises StorageUnavailable."""
        items = batch_get(self._table, [records.client_key(client_id)])
        return records.client_of(items[0]) if items else None

    def keys(self, client_id: str) -> tuple[ApiKey, ...]:
        """Return the client's keys, oldest first. Raises StorageUnavailable."""
        items = query(self._table, Slice(records.partition(client_id), records.KEY_PREFIX))
        return tuple(records.api_key_of(item) for item in items)

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
