"""Keys as the command line reads them: those that work, all there ever were, those with a hash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.tenants import records
from chalicelib.tenants.directory import DynamoDirectory
from chalicelib.tenants.dynamo import Slice, batch_get, query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.domain import ApiKey
    from chalicelib.tenants.records import Item


class KeyReader:
    """Reads keys, as they are now. Every method may raise StorageUnavailable."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def key(self, key_id: str) -> ApiKey | None:
        """Return a key as it is now, or None."""
        pointers = batch_get(self._table, [records.id_pointer_key(key_id)])
        item = self._record(str(pointers[0]["client_id"]), key_id) if pointers else None
        return records.api_key_of(item) if item else None

    def keys(self, client_id: str) -> tuple[ApiKey, ...]:
        """Return all keys that a client ever had, oldest first."""
        ended = self._filed(client_id, records.ENDED_KEY_PREFIX)
        every = {key.id: key for key in (*self.working(client_id), *ended)}
        return tuple(every[key_id] for key_id in sorted(every))

    def working(self, client_id: str) -> tuple[ApiKey, ...]:
        """Return the keys that are not filed as ended, oldest first; some may have expired."""
        return self._filed(client_id, records.KEY_PREFIX)

    def latest(self, client_id: str) -> tuple[ApiKey, ...]:
        """Return a client's keys as its own list shows them: of those that ended, the last 20."""
        return DynamoDirectory(self._table).keys(client_id)

    def of_hashes(self, hashes: Sequence[str]) -> dict[str, ApiKey]:
        """Return the keys with these SHA-256, by hash; in two or three reads for each hundred."""
        pointers = batch_get(self._table, [records.hash_pointer_key(one) for one in hashes])
        owners = [(str(one["client_id"]), str(one["key_id"])) for one in pointers]
        found = batch_get(self._table, [records.api_key_key(*owner) for owner in owners])
        there = {str(item["id"]) for item in found}
        ended = [records.ended_key_key(*owner) for owner in owners if owner[1] not in there]
        keys = [records.api_key_of(item) for item in (*found, *batch_get(self._table, ended))]
        return {key.sha256: key for key in keys}

    def _record(self, client_id: str, key_id: str) -> Item | None:
        """Return the record of a key, wherever it is filed, or None."""
        places = [records.api_key_key(client_id, key_id), records.ended_key_key(client_id, key_id)]
        found = batch_get(self._table, places)
        return found[0] if found else None

    def _filed(self, client_id: str, prefix: str) -> tuple[ApiKey, ...]:
        items = query(self._table, Slice(records.partition(client_id), prefix))
        return tuple(records.api_key_of(item) for item in items)
