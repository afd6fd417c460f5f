"""Provisioned concurrency: a version of the API's function, its alias, and the API led to it.

Lambda keeps processes ready for a published version only, while Chalice leads the API to the
function as it is. So each deploy publishes a version, moves the alias `live` to it, and writes the
alias into the API's integrations, which `chalice deploy` overwrites. The API is led to the alias
once its processes are ready, and the alias goes once the API leads away from it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from admin_cli.deploying.absent import tolerantly
from admin_cli.deploying.api_routes import ALIAS, Routes
from admin_cli.deploying.ready_processes import ReadyProcesses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_lambda import LambdaClient

# What a version keeps of a function; where they agree, a new one would be the same.
_OF_VERSION = (
    "Architectures",
    "CodeSha256",
    "Environment",
    "EphemeralStorage",
    "FileSystemConfigs",
    "Handler",
    "Layers",
    "MemorySize",
    "Role",
    "Runtime",
    "Timeout",
    "TracingConfig",
    "VpcConfig",
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
    pause: Callable[[float], None] = time.sleep

    def apply(self, tell: Callable[[str], None]) -> str | None:
        """Make it as it is wanted. Return the API's new deployment, if one was needed.

        Whatever stops it in between, the API leads to a function that answers. Raises CliError
        when the processes do not get ready, and botocore's errors.
        """
        if self.wanted:
            return self._keep_ready(tell)
        version = self._version()
        moved = self._routes().lead(tell, to_alias=False, surely=version is not None)
        if version is not None:
            tell(f"function {self.function}: no processes are kept ready any more")
            self._processes().drop()
            self._prune({version})
            self.functions.delete_alias(FunctionName=self.function, Name=ALIAS)
            self._prune(set())
        return moved

    def end_processes(self) -> None:
        """End those that are kept ready: they keep the packages and model that they began with.

        `apply`, `refill` or `renew` then has others begin; requests are answered meanwhile, by
        processes that nobody kept ready. Raises botocore's errors.
        """
        self._processes().drop()

    def refill(self, tell: Callable[[str], None]) -> None:
        """Have processes kept ready for the alias, if there is one; leave alias and API alone.

        For a stage whose alias and versions are its stack's. Raises as `apply` does.
        """
        if self.wanted and self._version() is not None:
            self._processes().provide(tell)

    def renew(self, tell: Callable[[str], None]) -> None:
        """Let the alias, if there is one, name the function as it is by now; leave the API alone.

        Raises as `apply` does.
        """
        if self.wanted and self._version() is not None:
            self._prune(self._put_forward(tell))

    def differences(self) -> Iterator[str]:
        """Tell what `apply` would do, in words."""
        version = self._version()
        if self.wanted:
            if version is None or not self._is_current(version):
                yield f"version of function {self.function}"
            if not self._processes().are_there():
                yield f"{self.wanted} processes of function {self.function} kept ready"
            if not self._routes().are_led(to_alias=True):
                yield f"API leads to alias {ALIAS} of function {self.function}"
            return
        if version is not None:
            yield f"no processes of function {self.function} kept ready"
        if not self._routes().are_led(to_alias=False):
            yield f"API leads to function {self.function} itself"

    def _keep_ready(self, tell: Callable[[str], None]) -> str | None:
        named = self._put_forward(tell)
        moved = self._routes().lead(tell, to_alias=True, surely=True)
        self._prune(named)
        return moved

    def _put_forward(self, tell: Callable[[str], None]) -> set[str]:
        """Have the alias name the function as it is, with processes ready; return its versions.

        Those are the one from now on, and the one before.
        """
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
        self._let_api_call()
        self._processes().provide(tell)
        return {one for one in (before, current) if one is not None}

    def _routes(self) -> Routes:
        return Routes(self.gateway, self.rest_api_id, self.api_stage, self.function)

    def _processes(self) -> ReadyProcesses:
        return ReadyProcesses(self.functions, self.function, self.wanted, self.pause)

    def _version(self) -> str | None:
        """Return the version that the alias names, None without alias."""
        ask = self.functions.get_alias
        found = tolerantly(lambda: ask(FunctionName=self.function, Name=ALIAS))
        return None if found is None else found["FunctionVersion"]

    def _is_current(self, version: str) -> bool:
        name = self.function
        now: Any = self.functions.get_function_configuration(FunctionName=name)
        then: Any = self.functions.get_function_configuration(FunctionName=name, Qualifier=version)
        return all(_plain(now.get(field)) == _plain(then.get(field)) for field in _OF_VERSION)

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

    def _prune(self, kept: set[str]) -> None:
        """Delete old versions, each of which keeps its code of 24 MB."""
        pages = self.functions.get_paginator("list_versions_by_function")
        for page in pages.paginate(FunctionName=self.function):
            for one in page["Versions"]:
                if one["Version"] not in kept | {"$LATEST"}:
                    self.functions.delete_function(
                        FunctionName=self.function, Qualifier=one["Version"]
                    )


def _plain(value: Any) -> Any:  # noqa: ANN401 - boto's answers
    """Return a part of a configuration such that what means the same is equal.

    AWS leaves out what is empty, or not, and gives lists in no order.
    """
    match value:
        case dict():
            plain = {key: _plain(one) for key, one in value.items()}
            return {key: one for key, one in plain.items() if one} or None
        case list():
            return sorted((_plain(one) for one in value), key=repr) or None
    return value or None
