"""Records of clients: they themselves, their keys, their plans over time, their usage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.domain import ApiKey, Client, Plan
from chalicelib.tenants.records.place import moment, partition

if TYPE_CHECKING:
    from datetime import datetime

    from chalicelib.tenants.records.place import Item

ALL_CLIENTS = "CLIENTS"
FORMER_CLIENTS = "FORMER"
KEY_PREFIX = "KEY#"
# Of keys that work no more, apart from the others, so that these can be read alone.
ENDED_KEY_PREFIX = "ENDEDKEY#"
TERMS_PREFIX = "TERMS#"
USAGE_PREFIX = "USAGE#"


def client_key(client_id: str) -> Item:
    """Return the primary key of a client's record."""
    return {"pk": partition(client_id), "sk": "CLIENT"}


def api_key_key(client_id: str, key_id: str) -> Item:
    """Return the primary key of a key's record."""
    return {"pk": partition(client_id), "sk": f"{KEY_PREFIX}{key_id}"}


def ended_key_key(client_id: str, key_id: str) -> Item:
    """Return the primary key of the record of a key that works no more."""
    return {"pk": partition(client_id), "sk": f"{ENDED_KEY_PREFIX}{key_id}"}


def hash_pointer_key(sha256: str) -> Item:
    """Return the primary key of the pointer from a hash to a key."""
    return {"pk": f"HASH#{sha256}", "sk": "HASH"}


def id_pointer_key(key_id: str) -> Item:
    """Return the primary key of the pointer from a key's id to its client."""
    return {"pk": f"KEY#{key_id}", "sk": "KEY"}


def former_key(client_id: str) -> Item:
    """Return the primary key of what is kept of a deleted client."""
    return {"pk": partition(client_id), "sk": "FORMER"}


def usage_key(client_id: str, period_start: datetime, shard: int | None = None) -> Item:
    """Return the primary key of the usage in the period that begins at `period_start`, in UTC.

    `shard`: of that part of it; the sort keys of the parts begin with that of the whole.
    """
    part = "" if shard is None else f"#{shard:02d}"
    return {"pk": partition(client_id), "sk": f"{USAGE_PREFIX}{period_start:%Y-%m-%d}{part}"}


def terms_item(client: Client, since: datetime) -> Item:
    """Return the record of the plan that a client has from `since` on, for its invoices."""
    return {
        "pk": partition(client.id),
        "sk": f"{TERMS_PREFIX}{moment(since)}",
        "plan": client.plan.model_dump_json(),
    }


def client_item(client: Client) -> Item:
    """Return the record of a client. What may be None is absent, for conditions to test."""
    fields = client.model_dump(mode="json", exclude={"plan"}, exclude_none=True)
    # As text, because DynamoDB has no floating point and the plan is never queried.
    return (
        client_key(client.id)
        | {"gsi1pk": ALL_CLIENTS, "gsi1sk": client.id}
        | fields
        | {"plan": client.plan.model_dump_json()}
    )


def client_of(item: Item) -> Client:
    """Return the client of a record."""
    fields = item | {"plan": Plan.model_validate_json(item["plan"], extra="ignore")}
    return Client.model_validate(fields, extra="ignore")


def api_key_items(key: ApiKey) -> tuple[Item, Item, Item]:
    """Return a key's record and its two pointers, to be written together or not at all.

    The record of a revoked key lies among those of keys that work no more.
    """
    place = api_key_key if key.revoked_at is None else ended_key_key
    fields = key.model_dump(mode="json", exclude_none=True)
    fields["scopes"] = sorted(fields["scopes"])
    owner = {"client_id": key.client_id}
    return (
        place(key.client_id, key.id) | fields,
        hash_pointer_key(key.sha256) | owner | {"key_id": key.id},
        id_pointer_key(key.id) | owner | {"sha256": key.sha256},
    )


def api_key_of(item: Item) -> ApiKey:
    """Return the key of a record."""
    return ApiKey.model_validate(item, extra="ignore")
