"""The processes that Lambda keeps ready for the alias of a function: asked for, and waited for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from admin_cli.console import CliError
from admin_cli.deploying.absent import tolerantly
from admin_cli.deploying.api_routes import ALIAS

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_lambda import LambdaClient

READY_SECONDS = 900  # each loads torch and a model from EFS, and Lambda begins a few at a time
_POLL_SECONDS = 5


@dataclass(frozen=True, slots=True)
class ReadyProcesses:
    """The `wanted` processes of an alias that begin before a request comes."""

    functions: LambdaClient
    function: str
    wanted: int
    pause: Callable[[float], None] = time.sleep

    def are_there(self) -> bool:
        """Tell whether as many as are wanted are ready. Raises botocore's errors."""
        found = self._found()
        return _asked_for(found) == self.wanted and found["Status"] == "READY"

    def provide(self, tell: Callable[[str], None]) -> None:
        """Ask for them unless that is done, and wait until they are ready.

        Raises CliError when they are not after `READY_SECONDS` or Lambda gives up, and botocore's
        errors.
        """
        found = self._found()
        if _asked_for(found) != self.wanted or found["Status"] == "FAILED":
            tell(f"function {self.function}: {self.wanted} processes are kept ready")
            self.functions.put_provisioned_concurrency_config(
                FunctionName=self.function,
                Qualifier=ALIAS,
                ProvisionedConcurrentExecutions=self.wanted,
            )
        told = -1
        for _ in range(READY_SECONDS // _POLL_SECONDS):
            found = self._found()
            status = found.get("Status")
            if status == "READY":
                return
            if status == "FAILED":
                why = found.get("StatusReason", "Lambda gives no reason")
                raise CliError(f"function {self.function}: no processes are kept ready: {why}")
            if (ready := int(found.get("AvailableProvisionedConcurrentExecutions", 0))) != told:
                told = ready
                tell(f"function {self.function}: {ready} of {self.wanted} processes are ready")
            self.pause(_POLL_SECONDS)
        raise CliError(
            f"function {self.function}: its processes are not ready after {READY_SECONDS // 60} "
            "minutes; deploy again to wait on"
        )

    def drop(self) -> None:
        """Keep none ready any more; none is no error. Raises botocore's errors."""
        drop = self.functions.delete_provisioned_concurrency_config
        tolerantly(lambda: drop(FunctionName=self.function, Qualifier=ALIAS))

    def _found(self) -> Any:  # noqa: ANN401 - boto's answer, empty where none are asked for
        ask = self.functions.get_provisioned_concurrency_config
        return tolerantly(lambda: ask(FunctionName=self.function, Qualifier=ALIAS)) or {}


def _asked_for(found: Any) -> int:  # noqa: ANN401 - boto's answer
    return int(found.get("RequestedProvisionedConcurrentExecutions", 0))
