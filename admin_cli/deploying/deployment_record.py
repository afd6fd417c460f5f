"""The table's item STAGE/DEPLOYMENT: how any operator's machine finds what was deployed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from chalicelib import aws
from chalicelib.tenants.deployment import DEPLOYMENT_KEY


@dataclass(frozen=True)
class Deployment:
    """What was deployed last.

    `deployed_at`: RFC 3339, UTC. `digest`: SHA-256 of the deployed copy. `gateway_deployment`:
    the API Gateway deployment that carries the gateway responses. `chalice`: Chalice's own
    memory of what it made, as JSON.
    """

    rest_api_id: str
    api_stage: str
    api_url: str
    deployed_at: str
    digest: str
    gateway_deployment: str
    chalice: str


def read_deployment(table: str) -> Deployment | None:
    """The recorded deployment, or None when there is none or it predates a field.

    Raises botocore's ClientError.
    """
    item = aws.table(table).get_item(Key=DEPLOYMENT_KEY, ConsistentRead=True).get("Item") or {}
    names = [field.name for field in fields(Deployment)]
    if any(name not in item for name in names):
        return None
    return Deployment(**{name: str(item[name]) for name in names})


def forget_deployment(table: str) -> None:
    """Remove the record; none is no error. Raises botocore's ClientError."""
    aws.table(table).delete_item(Key=DEPLOYMENT_KEY)


def write_deployment(table: str, deployment: Deployment) -> Deployment:
    """Record `deployment` and return it. Raises botocore's ClientError."""
    aws.table(table).put_item(Item={**DEPLOYMENT_KEY, **asdict(deployment)})
    return deployment
