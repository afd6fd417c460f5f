"""What signs a client's events, in a record of its own, so that no list of clients reads it.

In another one: how its webhook has fared.

The record is in the client's partition, under the sort key WEBHOOK, and goes with the client.
HMAC needs the secret itself, so it is not hashed; docs/adr/0016-delivery.md says why it lies here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from chalicelib.domain import Health, SigningSecrets
from chalicelib.tenants import records
from chalicelib.tenants.dynamo import batch_get, translated

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.tenants.records import Item

_REFUSED = "ConditionalCheckFailedException"


class DynamoSecretStore:
    """Reads signing secrets from the table."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def secrets(self, client_id: str) -> SigningSecrets | None:
        """Return them as they are now, None without a webhook. Raises StorageUnavailable."""
        found = batch_get(self._table, [secrets_key(client_id)])
        return secrets_of(found[0]) if found else None


class DynamoHealthStore:
    """Satisfies `ports.HealthStore` with a record of its own in the client's partition."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def health(self, client_id: str) -> Health:
        """Return what is known, an empty one for nothing. Raises StorageUnavailable."""
        found = batch_get(self._table, [health_key(client_id)])
        return Health.model_validate(found[0], extra="ignore") if found else Health()

    def advance(self, client_id: str, before: Health, after: Health) -> bool:
        """Replace `before`, if it still stands, by `after`. Raises StorageUnavailable."""
        conditions, values = [], {}
        was = health_item(client_id, before)
        for name in ("url", "failing_since", "off_since"):
            if name in was:
                conditions.append(f"#{name} = :{name}")
                values[f":{name}"] = was[name]
            else:
                conditions.append(f"attribute_not_exists(#{name})")
        further: Any = {"ExpressionAttributeValues": values} if values else {}
        with translated():
            try:
                self._table.put_item(
                    Item=health_item(client_id, after),
                    ConditionExpression=" AND ".join(conditions),
                    ExpressionAttributeNames={
                        f"#{name}": name for name in ("url", "failing_since", "off_since")
                    },
                    **further,
                )
            except ClientError as error:
                if error.response["Error"].get("Code") != _REFUSED:
                    raise
                return False
        return True


def health_key(client_id: str) -> Item:
    """Return the primary key of how a client's webhook has fared."""
    return {"pk": records.partition(client_id), "sk": "WEBHOOKHEALTH"}


def health_item(client_id: str, health: Health) -> Item:
    """Return the record of how a client's webhook has fared. What is not known is absent."""
    fields = health.model_dump(mode="json", exclude_defaults=True)
    return health_key(client_id) | fields


def secrets_key(client_id: str) -> Item:
    """Return the primary key of a client's signing secrets."""
    return {"pk": records.partition(client_id), "sk": "WEBHOOK"}


def secrets_item(client_id: str, secrets: SigningSecrets) -> Item:
    """Return the record of a client's signing secrets."""
    return secrets_key(client_id) | secrets.model_dump(mode="json", exclude_none=True)


def secrets_of(item: Item) -> SigningSecrets:
    """Return the signing secrets of a record."""
    return SigningSecrets.model_validate(item, extra="ignore")
