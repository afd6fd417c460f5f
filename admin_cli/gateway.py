"""API Gateway's side of clients and keys: one usage plan per client, one API key per key.

It is the coarse first gate. The function checks every key itself, so nothing here needs to be
exact or immediate; changes take seconds to spread, and the control plane allows a few calls a
second, which `pacing` keeps to.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from admin_cli.console import CliError
from admin_cli.pacing import Pace
from admin_cli.tenants.gates import PERIODS, gate_patches, limits_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date

    from mypy_boto3_apigateway import APIGatewayClient

    from chalicelib.domain import Plan


def gateway_client(*, paced: bool = False) -> APIGatewayClient:
    """Return a client for the control plane; `paced`: one that keeps below its low limits."""
    client: APIGatewayClient = boto3.client(
        "apigateway", config=Config(retries={"total_max_attempts": 10, "mode": "standard"})
    )
    if paced:
        Pace().attach(client)
    return client


class Gateway:
    """Usage plans and keys for one deployed API stage. Every method may raise CliError."""

    def __init__(
        self, client: APIGatewayClient, stage: str, rest_api_id: str, api_stage: str
    ) -> None:
        self._client = client
        self._stage = stage
        self._api_stage = {"apiId": rest_api_id, "stage": api_stage}

    def find_usage_plan(self, client_id: str) -> str | None:
        """Return the id of a client's usage plan, or None.

        Raises CliError when the plan is on another API, as after a deployment by hand.
        """
        name = self._plan_name(client_id)
        with translated():
            for page in self._client.get_paginator("get_usage_plans").paginate(
                PaginationConfig={"PageSize": 500}
            ):
                for plan in page["items"]:
                    if plan.get("name") != name:
                        continue
                    if self._api_stage not in _stages(plan.get("apiStages", [])):
                        raise CliError(f"usage plan {name} is on another API: delete it by hand")
                    return plan["id"]
        return None

    def usage_plans(self) -> dict[str, dict[str, Any]]:
        """Return all usage plans of this stage's clients by id, as API Gateway shows them."""
        found: dict[str, dict[str, Any]] = {}
        with translated():
            for page in self._client.get_paginator("get_usage_plans").paginate(
                PaginationConfig={"PageSize": 500}
            ):
                for plan in page["items"]:
                    if plan.get("name", "").startswith(self._plan_name("")):
                        found[plan["id"]] = dict(plan)
        return found

    def create_usage_plan(self, client_id: str, plan: Plan) -> str:
        """Create a client's usage plan for this API stage and return its id."""
        with translated():
            answer = self._client.create_usage_plan(
                name=self._plan_name(client_id),
                # From the start: adding the stage later corrupts the plan on the local AWS.
                apiStages=[self._api_stage],  # type: ignore[list-item]
                throttle={
                    "rateLimit": plan.throttle.rate_per_second,
                    "burstLimit": plan.throttle.burst,
                },
                quota={
                    "limit": plan.requests.limit,
                    "period": PERIODS[plan.requests.period],
                },
                tags={"app": "radgate", "stage": self._stage},
            )
        return answer["id"]

    def set_limits(
        self,
        usage_plan_id: str,
        plan: Plan,
        note: Callable[[dict[str, str | None], dict[str, str | None]], object] = lambda *_: None,
    ) -> bool:
        """Give a usage plan the gate of `plan`; False, and no change, when it has it already.

        `note` is told which limits are about to be set, by path: as they are, as they will be.
        """
        with translated():
            found = self._client.get_usage_plan(usagePlanId=usage_plan_id)
        operations = gate_patches(found, plan)
        if operations:
            before, after = limits_of(found), {one["path"]: one["value"] for one in operations}
            note({path: before.get(path) for path in after}, {**after})
            with translated():
                self._client.update_usage_plan(
                    usagePlanId=usage_plan_id,
                    patchOperations=operations,  # type: ignore[arg-type]
                )
        return bool(operations)

    def cover(self, usage_plan_id: str) -> None:
        """Put a usage plan onto the API's stage; twice is no error."""
        stage = f"{self._api_stage['apiId']}:{self._api_stage['stage']}"
        with translated(fine="ConflictException"):
            self._client.update_usage_plan(
                usagePlanId=usage_plan_id,
                patchOperations=[{"op": "add", "path": "/apiStages", "value": stage}],
            )

    def requests(self, usage_plan_id: str, first: date, last: date) -> int | None:
        """Return the requests of a plan's keys, refused ones too; None when there is no figure.

        From `first` to `last`, both included, at most 90 days. It lags by half an hour, is best
        effort, and forgets keys that were deleted.
        """
        count, days = 0, 0
        with translated(fine="NotFoundException"):
            for page in self._client.get_paginator("get_usage").paginate(
                usagePlanId=usage_plan_id, startDate=str(first), endDate=str(last)
            ):
                for figures in (page.get("items") or {}).values():
                    days += len(figures)
                    count += sum(used for used, _left in figures)
        return count if days else None

    def delete_usage_plan(self, usage_plan_id: str) -> None:
        """Delete a usage plan; one that is gone already is no error."""
        stage = f"{self._api_stage['apiId']}:{self._api_stage['stage']}"
        with translated(fine="NotFoundException"):
            found = self._client.get_usage_plan(usagePlanId=usage_plan_id)
            # API Gateway refuses to delete a plan that still covers a stage, and to take away one
            # that it does not cover, as after a run that ended between the two.
            if self._api_stage in _stages(found.get("apiStages", [])):
                self._client.update_usage_plan(
                    usagePlanId=usage_plan_id,
                    patchOperations=[{"op": "remove", "path": "/apiStages", "value": stage}],
                )
            self._client.delete_usage_plan(usagePlanId=usage_plan_id)

    def create_key(self, key_id: str, secret: str) -> str:
        """Create an API key of this value, named by our id alone; return API Gateway's id."""
        with translated():
            answer = self._client.create_api_key(
                name=key_id,
                value=secret,
                enabled=True,  # left out, it means false
                tags={"app": "radgate", "stage": self._stage},
            )
        return answer["id"]

    def value_of(self, gateway_key_id: str) -> str | None:
        """Return the secret of a key, which API Gateway can show again; None when it is gone."""
        found = None
        with translated(fine="NotFoundException"):
            found = self._client.get_api_key(apiKey=gateway_key_id, includeValue=True)
        return None if found is None else found["value"]

    def find_key(self, key_id: str) -> str | None:
        """Return API Gateway's id of the key with this name, or None."""
        with translated():
            for page in self._client.get_paginator("get_api_keys").paginate(nameQuery=key_id):
                for key in page["items"]:
                    if key.get("name") == key_id:
                        return key["id"]
        return None

    def add_to_plan(self, usage_plan_id: str, gateway_key_id: str) -> None:
        """Let a key through the gate under a usage plan; twice is no error."""
        with translated(fine="ConflictException"):
            self._client.create_usage_plan_key(
                usagePlanId=usage_plan_id, keyId=gateway_key_id, keyType="API_KEY"
            )

    def delete_key(self, gateway_key_id: str) -> None:
        """Delete an API key, from its plan too; one that is gone already is no error."""
        with translated(fine="NotFoundException"):
            self._client.delete_api_key(apiKey=gateway_key_id)

    def owner_of(self, plan: dict[str, Any]) -> str:
        """Return whose usage plan this is, of those that `usage_plans` has returned."""
        return str(plan["name"]).removeprefix(self._plan_name(""))

    def _plan_name(self, client_id: str) -> str:
        return plan_name(self._stage, client_id)


def plan_name(stage: str, client_id: str) -> str:
    """Return what a client's usage plan is called."""
    return f"radgate-{stage}-{client_id}"


def _stages(entries: object) -> list[dict[str, str]]:
    """Return which stages a plan covers, without their own throttles."""
    found = entries if isinstance(entries, list) else []
    return [{"apiId": entry["apiId"], "stage": entry["stage"]} for entry in found]


@contextmanager
def translated(*, fine: str = "") -> Iterator[None]:
    """Turn a refusal into one line that names the operation and the reason, but no argument.

    `fine`: the code of a refusal that means there is nothing left to do.
    """
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        if code != fine:
            raise CliError(f"API Gateway refused {error.operation_name}: {code}") from error
    except BotoCoreError as error:
        raise CliError(f"API Gateway cannot be reached: {type(error).__name__}") from error
