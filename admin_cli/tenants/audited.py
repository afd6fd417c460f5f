"""One record read and changed together with its line in the audit trail."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chalicelib.tenants.audit import Change
from chalicelib.tenants.dynamo import batch_get, key_of
from chalicelib.tenants.transactions import THERE, put

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from chalicelib.domain import ApiKey, Client
    from chalicelib.tenants.audit import Trail
    from chalicelib.tenants.records import Item

Attribute = str | bool | int


class AuditedTable:
    """The table as commands change it. Every method may raise StorageUnavailable."""

    def __init__(self, table: Table, trail: Trail) -> None:
        self.table = table
        self.trail = trail

    def read(self, key: Item) -> Item | None:
        """Return a record as it is now, or None. `key`: may be the whole record."""
        items = batch_get(self.table, [{"pk": key["pk"], "sk": key["sk"]}])
        return items[0] if items else None

    def edit(
        self,
        action: str,
        key: Item,
        values: Mapping[str, Attribute],
        allowed: Callable[[Item], bool] = lambda _item: True,
        further: Callable[[Item], list[TransactWriteItemTypeDef]] = lambda _item: [],
    ) -> Item | None:
        """Set attributes of a record and return it; None when it is gone or not `allowed`.

        What has these values already is left alone and not noted. `further`: what is to be
        written with it, given the record as it will be.
        """
        result: Item | None = None

        def plan() -> Change | None:
            nonlocal result
            item = self.read(key)
            result = None if item is None or not allowed(item) else {**item, **values}
            if item is None or result is None or result == item:
                return None
            before = {name: item.get(name) for name in values}
            return Change(
                action=action,
                subject=str(item["id"]),
                client_id=str(item.get("client_id", item["id"])),
                before=told(before),
                after=told(values),
                writes=[self.update(key, before, values), *further(result)],
            )

        self.trail.commit(plan)
        return result

    def put(self, item: Item) -> TransactWriteItemTypeDef:
        """Return the write of a new record."""
        return put(self.table, item)

    def replace(self, item: Item) -> TransactWriteItemTypeDef:
        """Return the write of a record that may be there already."""
        return {"Put": {"TableName": self.table.name, "Item": item}}

    def check(self, key: Item, condition: str) -> TransactWriteItemTypeDef:
        """Return a check that writes nothing."""
        return {
            "ConditionCheck": {
                "TableName": self.table.name,
                "Key": key,
                "ConditionExpression": condition,
            }
        }

    def take(self, item: Item, names: Sequence[str]) -> TransactWriteItemTypeDef:
        """Return the removal of a record, which holds only while `names` are as in `item`."""
        condition, values = _unchanged({name: item.get(name) for name in names})
        write: TransactWriteItemTypeDef = {
            "Delete": {
                "TableName": self.table.name,
                "Key": key_of(item),
                "ConditionExpression": condition,
                "ExpressionAttributeNames": {f"#{name}": name for name in names},
            }
        }
        if values:  # DynamoDB refuses an empty one
            write["Delete"]["ExpressionAttributeValues"] = values
        return write

    def delete(self, key: Item) -> TransactWriteItemTypeDef:
        """Return the removal of a record."""
        place = {"pk": key["pk"], "sk": key["sk"]}
        return {"Delete": {"TableName": self.table.name, "Key": place}}

    def update(
        self, key: Item, before: Mapping[str, Attribute | None], after: Mapping[str, Attribute]
    ) -> TransactWriteItemTypeDef:
        """Return the write of `after`, which holds only while these attributes are as `before`."""
        condition, was = _unchanged(before)
        values: dict[str, Any] = {f":{name}": text for name, text in after.items()} | was
        return {
            "Update": {
                "TableName": self.table.name,
                "Key": key,
                "UpdateExpression": "SET " + ", ".join(f"#{name} = :{name}" for name in after),
                "ConditionExpression": condition,
                "ExpressionAttributeNames": {f"#{name}": name for name in {*before, *after}},
                "ExpressionAttributeValues": values,
            }
        }


def _unchanged(before: Mapping[str, Attribute | None]) -> tuple[str, dict[str, Attribute]]:
    """Return the condition that a record is there and has these attributes, and its values."""
    conditions, values = [THERE], {}
    for name, text in before.items():
        if text is None:
            conditions.append(f"attribute_not_exists(#{name})")
        else:
            conditions.append(f"#{name} = :was_{name}")
            values[f":was_{name}"] = text
    return " AND ".join(conditions), values


def told(values: Mapping[str, Attribute | None]) -> dict[str, Any]:
    """Return attributes as the trail tells them: a plan not as text within text."""
    return {name: _told_value(name, value) for name, value in values.items()}


def _told_value(name: str, value: object) -> object:
    if isinstance(value, Decimal):  # as which DynamoDB returns a number
        return int(value)
    return json.loads(value) if name == "plan" and isinstance(value, str) else value


def told_client(client: Client) -> dict[str, Any]:
    """Return a client as the trail tells it, without the path of its webhook."""
    fields = client.model_dump(mode="json", exclude_none=True)
    return fields if client.webhook is None else fields | {"webhook": told_url(client.webhook)}


def told_url(url: str | None) -> str | None:
    """Return a URL as the trail tells it: where it leads, for some hold a word of entry."""
    if url is None:
        return None
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/…"


def told_key(key: ApiKey) -> dict[str, Any]:
    """Return a key as the trail tells it: its hash opens nothing, but is nobody's business."""
    fields = key.model_dump(mode="json", exclude={"sha256", "last_used_at"}, exclude_none=True)
    return fields | {"scopes": sorted(key.scopes)}
