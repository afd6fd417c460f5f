"""Where an API's routes lead: to the function as it is, or to its alias; and the deployment of it.

A route that was changed has no effect before the stage is deployed. So each deployment says in its
description where the routes led when it was made: a run that is killed between the two leaves a
stage whose deployment tells that it is owed another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_apigateway import APIGatewayClient

ALIAS = "live"


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes of an API that lead to one function, or to its alias."""

    gateway: APIGatewayClient
    rest_api_id: str
    api_stage: str
    function: str

    def lead(self, tell: Callable[[str], None], *, to_alias: bool, surely: bool) -> str | None:
        """Lead every route to the function or its alias, and deploy where that is not in force.

        `surely`: whether only a deployment that says so counts, as for an alias that goes; else
        one that says nothing counts for the function, which is where Chalice leads. Returns the
        new deployment. Raises botocore's errors.
        """
        place = self._place(to_alias=to_alias)
        elsewhere = list(self._elsewhere(place))
        if not elsewhere and self._in_force(place, surely=surely or to_alias):
            return None
        for resource, method, uri in elsewhere:
            self.gateway.update_integration(
                restApiId=self.rest_api_id,
                resourceId=resource,
                httpMethod=method,
                patchOperations=[{"op": "replace", "path": "/uri", "value": uri}],
            )
        tell(f"the API leads to {place}")
        made = self.gateway.create_deployment(
            restApiId=self.rest_api_id,
            stageName=self.api_stage,
            description=_said_of(place),
        )
        return made["id"]

    def are_led(self, *, to_alias: bool) -> bool:
        """Tell whether every route leads there, and the stage's deployment too."""
        place = self._place(to_alias=to_alias)
        return not any(self._elsewhere(place)) and self._in_force(place, surely=to_alias)

    def _place(self, *, to_alias: bool) -> str:
        return f"{self.function}:{ALIAS}" if to_alias else self.function

    def _in_force(self, place: str, *, surely: bool) -> bool:
        live = self.gateway.get_stage(restApiId=self.rest_api_id, stageName=self.api_stage)
        made = self.gateway.get_deployment(
            restApiId=self.rest_api_id, deploymentId=live["deploymentId"]
        )
        said = made.get("description", "")
        return said == _said_of(place) if surely else said != _said_of(f"{self.function}:{ALIAS}")

    def _elsewhere(self, place: str) -> Iterator[tuple[str, str, str]]:
        """Yield the routes that lead to our function, but not to `place`, and where they should."""
        starts = (f":function:{self.function}/", f":function:{self.function}:{ALIAS}/")
        found: Any = self.gateway.get_resources(
            restApiId=self.rest_api_id, limit=500, embed=["methods"]
        )
        for resource in found["items"]:
            for method, facts in resource.get("resourceMethods", {}).items():
                uri = facts.get("methodIntegration", {}).get("uri", "")
                start = next((one for one in starts if one in uri), None)
                if start is not None and start != f":function:{place}/":
                    yield resource["id"], method, uri.replace(start, f":function:{place}/")


def _said_of(place: str) -> str:
    return f"leads to {place}"
