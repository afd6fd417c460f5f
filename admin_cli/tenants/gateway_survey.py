"""What API Gateway holds of a stage, as `doctor` compares it with the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from admin_cli.gateway import translated

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient


@dataclass(frozen=True, slots=True)
class GatewayKey:
    """An API key, by API Gateway's id; `name` is the id of our key."""

    id: str
    name: str
    enabled: bool


class Survey:
    """Reads in pages; the value of no key is asked for. Every method may raise CliError."""

    def __init__(self, client: APIGatewayClient, stage: str) -> None:
        self._client = client
        self._stage = stage

    def keys(self) -> dict[str, GatewayKey]:
        """Return the keys that this stage has made, by API Gateway's id."""
        found: dict[str, GatewayKey] = {}
        with translated():
            for page in self._client.get_paginator("get_api_keys").paginate(
                PaginationConfig={"PageSize": 500}
            ):
                for key in page["items"]:
                    # An account may hold other stages and other products.
                    tags = key.get("tags") or {}
                    if (tags.get("app"), tags.get("stage")) == ("radgate", self._stage):
                        made = GatewayKey(key["id"], key.get("name", ""), bool(key.get("enabled")))
                        found[made.id] = made
        return found

    def plan_keys(self, usage_plan_id: str) -> set[str]:
        """Return API Gateway's ids of the keys in a usage plan."""
        with translated():
            pages = self._client.get_paginator("get_usage_plan_keys").paginate(
                usagePlanId=usage_plan_id, PaginationConfig={"PageSize": 500}
            )
            return {key["id"] for page in pages for key in page["items"]}

    def remove_from_plan(self, usage_plan_id: str, gateway_key_id: str) -> None:
        """Take a key out of a usage plan; one that is not in it is no error."""
        with translated(fine="NotFoundException"):
            self._client.delete_usage_plan_key(usagePlanId=usage_plan_id, keyId=gateway_key_id)

    def has_stage(self, rest_api_id: str, api_stage: str) -> bool:
        """Whether the API that was deployed is there."""
        found = None
        with translated(fine="NotFoundException"):
            found = self._client.get_stage(restApiId=rest_api_id, stageName=api_stage)
        return found is not None
