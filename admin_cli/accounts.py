"""Clients and keys as the command line writes them: every change one conditional write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from chalicelib.tenants import records
from chalicelib.tenants.directory import DynamoDirectory
from chalicelib.tenants.dynamo import Slice, batch_get, query, translated

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from chalicelib.domain import ApiKey, Client
    from chalicelib.tenants.records import Item

_NEW = "attribute_not_exists(pk)"
_THERE = "attribute_exists(pk)"


class Accounts:
    """Reads and writes clients and keys. Every method may raise StorageUnavailable."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._directory = DynamoDirectory(table)

    # --- clients ----------------------------------------------------------------------------

    def add_client(self, client: Client) -> bool:
        """Store a new client; False, and nothing is changed, when the id is taken."""
        with translated():
            try:
                self._table.put_item(Item=records.client_item(client), ConditionExpression=_NEW)
            except ClientError as error:
                if _is_refused(error):
                    return False
                raise
        return True

    def client(self, client_id: str) -> Client | None:
        """Return a client as it is now, or None."""
        items = batch_get(self._table, [records.client_key(client_id)])
        return records.client_of(items[0]) if items else None

    def clients(self) -> tuple[Client, ...]:
        """Return all clients by id. One that was just made may be missing for a moment."""
        index = query(self._table, Slice(records.ALL_CLIENTS, index=records.INDEX))
        wanted = [records.client_key(str(item["gsi1sk"])) for item in index]
        return tuple(records.client_of(item) for item in batch_get(self._table, wanted))

    def set_status(self, client_id: str, status: Literal["active", "suspended"]) -> Client | None:
        """Suspend or resume a client, whatever it was before; None when there is no such client."""
        item = self._change(records.client_key(client_id), _THERE, status=status)
        return records.client_of(item) if item else None

    def set_usage_plan(self, client_id: str, usage_plan_id: str) -> Client | None:
        """Note API Gateway's usage plan, once; None when one is noted or the client is gone."""
        condition = f"{_THERE} AND attribute_not_exists(usage_plan_id)"
        key = records.client_key(client_id)
        item = self._change(key, condition, usage_plan_id=usage_plan_id)
        return records.client_of(item) if item else None

    # --- keys -------------------------------------------------------------------------------

    def add_key(self, key: ApiKey) -> bool:
        """Store a new key with its pointers; False when its client is not there."""
        writes: list[TransactWriteItemTypeDef] = [
            {
                "ConditionCheck": {
                    "TableName": self._table.name,
                    "Key": records.client_key(key.client_id),
                    "ConditionExpression": _THERE,
                }
            }
        ]
        for item in records.api_key_items(key):
            put = {"TableName": self._table.name, "Item": item, "ConditionExpression": _NEW}
            writes.append({"Put": put})  # type: ignore[typeddict-item]
        with translated():
            try:
                self._table.meta.client.transact_write_items(TransactItems=writes)
            except ClientError as error:
                reasons = [one.get("Code") for one in error.response.get("CancellationReasons", [])]
                if reasons[:1] == ["ConditionalCheckFailed"]:
                    return False
                raise
        return True

    def key(self, key_id: str) -> ApiKey | None:
        """Return a key as it is now, or None."""
        pointers = batch_get(self._table, [records.id_pointer_key(key_id)])
        if not pointers:
            return None
        wanted = records.api_key_key(str(pointers[0]["client_id"]), key_id)
        items = batch_get(self._table, [wanted])
        return records.api_key_of(items[0]) if items else None

    def keys(self, client_id: str) -> tuple[ApiKey, ...]:
        """Return a client's keys, oldest first."""
        return self._directory.keys(client_id)

    def finish_key(self, key: ApiKey, gateway_key_id: str) -> ApiKey | None:
        """Note API Gateway's key; None when the key was revoked or discarded meanwhile."""
        condition = f"{_THERE} AND attribute_not_exists(revoked_at)"
        where = records.api_key_key(key.client_id, key.id)
        item = self._change(where, condition, gateway_key_id=gateway_key_id)
        return records.api_key_of(item) if item else None

    def revoke_key(self, key: ApiKey, at: datetime) -> ApiKey:
        """Revoke a key; a second time changes nothing, the first time stands."""
        condition = f"{_THERE} AND attribute_not_exists(revoked_at)"
        where = records.api_key_key(key.client_id, key.id)
        item = self._change(where, condition, revoked_at=at.isoformat())
        return records.api_key_of(item) if item else (self.key(key.id) or key)

    def discard_key(self, key: ApiKey) -> None:
        """Remove a revoked key and its pointers; one that is gone already is no error."""
        writes: list[TransactWriteItemTypeDef] = [
            {"Delete": {"TableName": self._table.name, "Key": {"pk": item["pk"], "sk": item["sk"]}}}
            for item in records.api_key_items(key)
        ]
        with translated():
            self._table.meta.client.transact_write_items(TransactItems=writes)

    def _change(self, key: Item, condition: str, **values: str) -> dict[str, Any] | None:
        """Set attributes on a condition and return the whole record; None when it does not hold."""
        sets = ", ".join(f"#{name} = :{name}" for name in values)
        with translated():
            try:
                answer = self._table.update_item(
                    Key=key,
                    UpdateExpression=f"SET {sets}",
                    ConditionExpression=condition,
                    ExpressionAttributeNames={f"#{name}": name for name in values},
                    ExpressionAttributeValues={f":{name}": text for name, text in values.items()},
                    ReturnValues="ALL_NEW",
                )
            except ClientError as error:
                if _is_refused(error):
                    return None
                raise
        return answer["Attributes"]


def _is_refused(error: ClientError) -> bool:
    return error.response.get("Error", {}).get("Code") == "ConditionalCheckFailedException"
