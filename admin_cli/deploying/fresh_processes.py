"""Has functions begin anew where another tree of packages serves than the one they began with.

Python cannot swap torch, so a process keeps its tree until Lambda ends it, which may take hours.
Each function that loads packages has the tree's name in its environment, and how often trees were
switched: that tells what runs, and Lambda answers a change of it with new processes, while requests
under way end in the old ones. There and back is a change too: in between, others may have begun.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

from admin_cli.console import CliError
from admin_cli.deploying.absent import tolerantly
from admin_cli.deploying.chalice_runner import functions_of
from admin_cli.deploying.stage_config import ON_EFS, function_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from mypy_boto3_lambda import LambdaClient

    from admin_cli.deploying.deployment_record import Deployment
    from admin_cli.deploying.provisioning import Entrance

VARIABLE = "RADGATE_RUNTIME"
# What writes to the mount loads no tree itself: it tries each out in a process of its own.
FROM_TREE = ON_EFS - {"efs_sync"}
_TRIES, _PAUSE = 10, 2.0
_CHANGED = {"PreconditionFailedException", "ResourceConflictException"}


@dataclass(frozen=True, slots=True)
class Loaders:
    """The functions that load packages. `functions`: names in config.json and on AWS."""

    client: LambdaClient
    functions: Mapping[str, str]
    pause: Callable[[float], None] = time.sleep

    def noted(self) -> dict[str, str]:
        """Return what each function has noted, by its name in config.json, "" for nothing.

        A function that is not there is left out. Raises botocore's errors.
        """
        found = {}
        for name in sorted(FROM_TREE & self.functions.keys()):
            known = tolerantly(partial(self._variables, self.functions[name]))
            if known is not None:
                found[name] = known[1].get(VARIABLE, "")
        return found

    def outdated(self, serving: str | None) -> Iterator[str]:
        """Yield the functions, as AWS names them, whose processes began with another tree.

        `serving`: as `serving` below tells it. Raises botocore's errors.
        """
        for name, noted in self.noted().items():
            if serving is not None and noted != serving:
                yield self.functions[name]

    def begin_anew(self, serving: str | None, tell: Callable[[str], None]) -> None:
        """Note what serves in each function that has noted another, which ends its processes.

        Whatever is cut off is done by the next call. Raises CliError when a function is changed
        by somebody else all the while, and botocore's errors.
        """
        for function in self.outdated(serving):
            tell(f"function {function} begins anew, with packages {str(serving)[:12]}")
            self._note(function, str(serving))

    def _note(self, function: str, serving: str) -> None:
        for _ in range(_TRIES):
            self.client.get_waiter("function_updated_v2").wait(FunctionName=function)
            revision, variables = self._variables(function)
            try:
                # The other variables are written back as they were read: by nobody changed since.
                self.client.update_function_configuration(
                    FunctionName=function,
                    RevisionId=revision,
                    Environment={"Variables": {**variables, VARIABLE: serving}},
                )
            except ClientError as error:
                if error.response["Error"]["Code"] not in _CHANGED:
                    raise
                self.pause(_PAUSE)
            else:
                self.client.get_waiter("function_updated_v2").wait(FunctionName=function)
                return
        raise CliError(f"function {function} is being changed by somebody else: run it again")

    def _variables(self, function: str) -> tuple[str, dict[str, str]]:
        """Return the revision of a function's configuration, and its environment."""
        facts = self.client.get_function_configuration(FunctionName=function)
        environment = facts.get("Environment", {})
        if "Error" in environment:  # they lie under a key that we may not use
            raise CliError(f"the environment of function {function} cannot be read")
        return facts["RevisionId"], environment.get("Variables", {})


def serving(facts: Mapping[str, Any]) -> str | None:
    """Return what functions note, of what the mount says; None where no tree ever served."""
    if facts["active"] is None:
        return None
    # A function of an older release does not count.
    return f"{facts['active']}:{facts.get('switches', 0)}"


def loaders_of(made: Deployment) -> Loaders:
    """Return the functions of a deployed stage that load packages."""
    return Loaders(boto3.client("lambda"), functions_of(made.chalice))


def begin_anew(
    made: Deployment, entrance: Entrance, now: str | None, tell: Callable[[str], None]
) -> None:
    """Have all processes of a deployed stage that began with another tree end.

    Also those that are kept ready. `now`: as `serving` tells it. Twice is no error, and the second
    run finishes what the first has begun. Raises CliError and botocore's errors.
    """
    loaders = loaders_of(made)
    if made.digest:
        loaders.begin_anew(now, tell)
        entrance.renew(tell)
        return
    # A template made the stage. Its versions and alias are the stack's, so those that are kept
    # ready are dropped and asked for again: before, so that a run that is killed drops them again.
    if any(loaders.outdated(now)):
        entrance.end_processes()
    loaders.begin_anew(now, tell)
    entrance.refill(tell)


def keep_noted(client: LambdaClient, stage: str, build: Path) -> None:
    """Put what functions have noted into the staged copy's configuration.

    Else a deploy of code takes it away, and every process begins anew twice. Raises botocore's
    errors.
    """
    path = build / ".chalice" / "config.json"
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    functions = config["stages"][stage].get("lambda_functions", {})
    loaders = Loaders(client, {name: function_name(stage, name) for name in functions})
    for name, noted in loaders.noted().items():
        if noted:
            own = functions[name]
            own["environment_variables"] = {**own.get("environment_variables", {}), VARIABLE: noted}
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")
