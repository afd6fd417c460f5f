"""The schedule that keeps a process of the API's function awake, with its model loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from admin_cli.deploying.absent import tolerantly
from admin_cli.deploying.api_routes import ALIAS
from chalicelib.services.warming import WARM_UP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_lambda import LambdaClient

_SID = "warm-up"
_TARGET = "api"


def rule_name(stage: str) -> str:
    """Return what EventBridge calls the schedule of a stage."""
    return f"radgate-{stage}-warm"


def rate(minutes: int) -> str:
    """Return a schedule as EventBridge writes it: of one minute, or of several minutes."""
    return f"rate({minutes} minute{'s' if minutes > 1 else ''})"


@dataclass(frozen=True, slots=True)
class Schedule:
    """The warm-up of a stage. `minutes`: between two of them, 0 for none.

    `alias`: whether the API leads to the function's alias, so that this is what is to be warm.
    """

    events: Any
    functions: LambdaClient
    stage: str
    function: str
    minutes: int
    alias: bool

    def apply(self, tell: Callable[[str], None]) -> None:
        """Make the schedule as it is wanted, or remove it. Raises botocore's errors."""
        if self.minutes:
            if any(self.differences()):
                tell(f"warm-up of function {self.function} every {self.minutes} min")
                self._make()
        elif self.remove():
            tell(f"no warm-up of function {self.function} any more")

    def differences(self) -> Iterator[str]:
        """Tell what `apply` would do, in words."""
        found = self._found()
        if not self.minutes:
            if found is not None:
                yield f"no warm-up of function {self.function}"
            return
        there = found is not None and found.get("ScheduleExpression") == rate(self.minutes)
        if not there or self._targets() != {_TARGET: (self._arn(), json.dumps(WARM_UP))}:
            yield f"warm-up of function {self.function} every {self.minutes} min"

    def remove(self) -> bool:
        """Remove the schedule; False when there was none. Raises botocore's errors."""
        if self._found() is None:
            return False
        name = rule_name(self.stage)
        if targets := list(self._targets()):
            self.events.remove_targets(Rule=name, Ids=targets)
        for place in ({}, {"Qualifier": ALIAS}):
            self._forbid(place)
        self.events.delete_rule(Name=name)
        return True

    def _make(self) -> None:
        name, arn = rule_name(self.stage), self._arn()
        # Before the rule, whose first call would be refused.
        rule = self._rule_arn(arn)
        place = {"Qualifier": ALIAS} if self.alias else {}
        self._forbid(place)
        self.functions.add_permission(
            FunctionName=self.function,
            StatementId=_SID,
            Action="lambda:InvokeFunction",
            Principal="events.amazonaws.com",
            SourceArn=rule,
            **place,  # type: ignore[arg-type]
        )
        self.events.put_rule(
            Name=name,
            ScheduleExpression=rate(self.minutes),
            State="ENABLED",
            Description="Keeps a process with its model loaded.",
        )
        self.events.put_targets(
            Rule=name, Targets=[{"Id": _TARGET, "Arn": arn, "Input": json.dumps(WARM_UP)}]
        )

    def _arn(self) -> str:
        facts = self.functions.get_function_configuration(FunctionName=self.function)
        return facts["FunctionArn"] + (f":{ALIAS}" if self.alias else "")

    def _rule_arn(self, function_arn: str) -> str:
        _, partition, _, region, account, *_ = function_arn.split(":")
        return f"arn:{partition}:events:{region}:{account}:rule/{rule_name(self.stage)}"

    def _forbid(self, place: dict[str, str]) -> None:
        """Take the permission to call the function back; none is no error."""
        what: dict[str, Any] = {"FunctionName": self.function, "StatementId": _SID, **place}
        tolerantly(lambda: self.functions.remove_permission(**what))

    def _found(self) -> dict[str, Any] | None:
        return tolerantly(lambda: dict(self.events.describe_rule(Name=rule_name(self.stage))))

    def _targets(self) -> dict[str, tuple[str, str]]:
        found = self.events.list_targets_by_rule(Rule=rule_name(self.stage))["Targets"]
        return {one["Id"]: (one["Arn"], one.get("Input", "")) for one in found}
