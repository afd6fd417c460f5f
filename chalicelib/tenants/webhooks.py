"""What signs a client's events, in a record of its own, so that no list of clients reads it.

The record is in the client's partition, under the sort key WEBHOOK, and goes with the client.
HMAC needs the secret itself, so it is not hashed; docs/adr/0016-delivery.md says why it lies here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.domain import SigningSecrets
from chalicelib.tenants import records
from chalicelib.tenants.dynamo import batch_get

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.tenants.records import Item


class DynamoSecretStore:
    """Reads signing secrets from the table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def secrets(self, client_id: str) -> SigningSecrets | None:
        """Return them as they are now, None without a webhook. Raises StorageUnavailable."""
        found = batch_get(self._table, [secrets_key(client_id)])
        return secrets_of(found[0]) if found else None


def secrets_key(client_id: str) -> Item:
    """Return the primary key of a client's signing secrets."""
    return {"pk": records.partition(client_id), "sk": "WEBHOOK"}


def secrets_item(client_id: str, secrets: SigningSecrets) -> Item:
    """Return the record of a client's signing secrets."""
    return secrets_key(client_id) | secrets.model_dump(mode="json", exclude_none=True)


def secrets_of(item: Item) -> SigningSecrets:
    """Return the signing secrets of a record."""
    return SigningSecrets.model_validate(item, extra="ignore")
