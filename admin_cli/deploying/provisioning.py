"""Provisioned concurrency: a version of the API's function, its alias, and the API led to it.

Lambda keeps processes ready for a published version only, while Chalice leads the API to the
function as it is. So each deploy publishes a version, moves the alias `live` to it, and writes the
alias into the API's integrations, which `chalice deploy` overwrites.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_lambda import LambdaClient

ALIAS = "live"
_GONE = {"ResourceNotFoundException", "ProvisionedConcurrencyConfigNotFoundException"}
# What a version keeps of a function; where they agree, a new one would be the same.
_OF_VERSION = (
    "CodeSha256",
    "Environment",
    "FileSystemConfigs",
    "MemorySize",
    "Role",
    "Runtime",
    "Timeout",
    "TracingConfig",
)


@dataclass(frozen=True, slots=True)
class Entrance:
    """The API's function and the way to it. `wanted`: processes that are kept ready, 0 for none."""

    functions: LambdaClient
    gateway: APIGatewayClient
    function: str
    rest_api_id: str
    api_stage: str
    wanted: int

    def apply(self, tell: Callable[[str], None]) -> str | None:
        """Make it as it is wanted. Return the API's new deployment, if one was needed.

        Whatever stops it in between, the API leads to a function that answers. Raises botocore's
        errors.
        """
        if self.wanted:
            return self._keep_ready(tell)
        moved = self._lead_to(f"{self.function}/", tell)
        if self._version() is not None:
            tell(f"function {self.function}: no processes are kept ready any more")
            self._tolerantly(self.functions.delete_provisioned_concurrency_config)
            self.functions.delete_alias(FunctionName=self.function, Name=ALIAS)
            self._prune(set())
        return moved

    def differences(self) -> Iterator[str]:
        """Tell what `apply` would do, in words."""
        version = self._version()
        if self.wanted:
            if version is None or not self._is_current(version):
                yield f"version of function {self.function}"
            if self._provisioned() != self.wanted:
                yield f"{self.wanted} processes of function {self.function} kept ready"
            if any(self._elsewhere(f"{self.function}:{ALIAS}/")):
                yield f"API leads to alias {ALIAS} of function {self.function}"
        elif version is not None:
            yield f"no processes of function {self.function} kept ready"

    def _keep_ready(self, tell: Callable[[str], None]) -> str | None:
        before = self._version()
        current = before
        if before is None or not self._is_current(before):
            self.functions.get_waiter("function_updated_v2").wait(FunctionName=self.function)
            # The same code and configuration give the same version, so a killed run costs none.
            current = self.functions.publish_version(FunctionName=self.function)["Version"]
            tell(f"function {self.function}: version {current}")
            self.functions.get_waiter("function_active_v2").wait(
                FunctionName=self.function, Qualifier=current
            )
            alias: dict[str, Any] = {"FunctionName": self.function, "Name": ALIAS}
            if before is None:
                self.functions.create_alias(**alias, FunctionVersion=current)
            else:
                self.functions.update_alias(**alias, FunctionVersion=current)
        if self._provisioned() != self.wanted:
            tell(f"function {self.function}: {self.wanted} processes are kept ready")
            self.functions.put_provisioned_concurrency_config(
                FunctionName=self.function,
                Qualifier=ALIAS,
                ProvisionedConcurrentExecutions=self.wanted,
            )
        self._let_api_call()
        moved = self._lead_to(f"{self.function}:{ALIAS}/", tell)
        self._prune({one for one in (before, current) if one is not None})
        return moved

    def _version(self) -> str | None:
        """Return the version that the alias names, None without alias."""
        try:
            found = self.functions.get_alias(FunctionName=self.function, Name=ALIAS)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise
            return None
        return found["FunctionVersion"]

    def _is_current(self, version: str) -> bool:
        name = self.function
        now: Any = self.functions.get_function_configuration(FunctionName=name)
        then: Any = self.functions.get_function_configuration(FunctionName=name, Qualifier=version)
        return all(now.get(field) == then.get(field) for field in _OF_VERSION)

    def _provisioned(self) -> int:
        found = self._tolerantly(self.functions.get_provisioned_concurrency_config)
        return int(found["RequestedProvisionedConcurrentExecutions"]) if found else 0

    def _tolerantly(self, call: Callable[..., Any]) -> Any:  # noqa: ANN401 - boto's answers
        try:
            return call(FunctionName=self.function, Qualifier=ALIAS)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise
            return None

    def _let_api_call(self) -> None:
        """Let the API call the alias: a permission of the function does not hold for it."""
        arn = self.functions.get_function_configuration(FunctionName=self.function)["FunctionArn"]
        _, partition, _, region, account, *_ = arn.split(":")
        source = f"arn:{partition}:execute-api:{region}:{account}:{self.rest_api_id}/*"
        try:
            self.functions.add_permission(
                FunctionName=self.function,
                Qualifier=ALIAS,
                StatementId=f"api-{self.rest_api_id}",
                Action="lambda:InvokeFunction",
                Principal="apigateway.amazonaws.com",
                SourceArn=source,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceConflictException":
                raise  # it is there already

    def _lead_to(self, place: str, tell: Callable[[str], None]) -> str | None:
        """Lead every route to `place`, a function or its alias with a slash at the end."""
        moved = False
        for resource, method, uri in list(self._elsewhere(place)):
            self.gateway.update_integration(
                restApiId=self.rest_api_id,
                resourceId=resource,
                httpMethod=method,
                patchOperations=[{"op": "replace", "path": "/uri", "value": uri}],
            )
            moved = True
        if not moved:
            return None
        tell(f"the API leads to {place.rstrip('/')}")
        made = self.gateway.create_deployment(
            restApiId=self.rest_api_id,
            stageName=self.api_stage,
            description=f"leads to {place.rstrip('/')}",
        )
        return made["id"]

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
                if start is not None and start != f":function:{place}":
                    yield resource["id"], method, uri.replace(start, f":function:{place}")

    def _prune(self, kept: set[str]) -> None:
        """Delete old versions, each of which keeps its code of 11 MB."""
        pages = self.functions.get_paginator("list_versions_by_function")
        for page in pages.paginate(FunctionName=self.function):
            for one in page["Versions"]:
                if one["Version"] not in kept | {"$LATEST"}:
                    self.functions.delete_function(
                        FunctionName=self.function, Qualifier=one["Version"]
                    )
