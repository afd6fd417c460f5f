"""Talks to the function `efs_sync`, which alone can write to the mount."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from admin_cli.console import CliError
from admin_cli.emulator import use_local_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_lambda import LambdaClient

# Lambda's longest run and a little; a call that is repeated by the SDK would only find the first
# one at work.
_PATIENT = Config(connect_timeout=5, read_timeout=930, retries={"total_max_attempts": 1})
_STANDSTILLS = 5
_PAUSE = 5.0
# Another run on the mount, perhaps of a deploy that was killed, ends within Lambda's longest time.
_WAITS = 180


def point_at(stage: str) -> None:
    """Let AWS clients find the stage. Raises CliError when the local one does not run."""
    if stage == "local":
        use_local_endpoint()


class Mount:
    """The mount of a stage, through its function."""

    def __init__(
        self, client: LambdaClient, function: str, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self._function = function
        self._pause = pause

    @classmethod
    def of_stage(cls, stage: str) -> Mount:
        """Return the mount of a deployed stage."""
        point_at(stage)
        return cls(boto3.client("lambda", config=_PATIENT), f"radgate-{stage}-efs_sync")

    def order(self, action: str, **event: str | bool) -> dict[str, Any]:
        """Give one order. Raises CliError when it is refused or the function fails."""
        answer = self._call({"action": action, **event})
        if answer.get("state") == "done":
            return answer
        raise CliError(f"the function refuses: {answer.get('detail', 'it is not done')}")

    def sync(self, tree: str, tell: Callable[[str], None]) -> dict[str, Any]:
        """Have a tree unpacked and activated. Raises CliError as `work` does."""
        return self.work({"action": "sync", "tree": tree}, tell)

    def work(self, event: dict[str, str | bool], tell: Callable[[str], None]) -> dict[str, Any]:
        """Give one order again and again, as many calls as it takes; return the last answer.

        Raises CliError when it is refused, when five calls in a row get no further, or when
        another run keeps the mount for a quarter of an hour.
        """
        before, standstills = None, 0
        while True:
            answer = self._call(event)
            if answer.get("state") == "done":
                return answer
            if answer.get("state") != "working":
                raise CliError(f"the function refuses: {answer.get('detail', 'without a word')}")
            now = (answer.get("stage"), answer.get("done"))
            standstills = standstills + 1 if now == before else 0
            if standstills == (_WAITS if now[0] == "wait" else _STANDSTILLS):
                why = answer.get("detail", f"its time is too short for the stage {now[0]}")
                raise CliError(f"the function gets no further: {why}")
            if now == before:
                self._pause(_PAUSE)
            elif now[0] == "wait":
                tell(f"waiting: {answer.get('detail')}")
            else:
                tell(f"{now[0]}: {answer.get('done', '-')} of {answer.get('total', '-')}")
            before = now

    def _call(self, event: dict[str, str | bool]) -> dict[str, Any]:
        data = json.dumps(event).encode()
        try:
            reply = self._client.invoke(FunctionName=self._function, Payload=data)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "ResourceNotFoundException":
                raise
            raise CliError(f"there is no function {self._function}: deploy the stage") from error
        payload = _parsed(reply["Payload"].read())
        if dict(reply).get("FunctionError") or not isinstance(payload, dict):
            failure = payload if isinstance(payload, dict) else {}
            kind = failure.get("errorType")
            if "timed out" in str(failure.get("errorMessage", "")).lower():
                # It was cut off in the middle; its journal knows where.
                return {"state": "working", "stage": "again", "detail": "it ran out of time"}
            raise CliError(f"the function failed: {kind or 'no answer'}; see its log")
        return payload


def _parsed(payload: bytes) -> object:
    """What the function sent, None when it sent nothing."""
    return json.loads(payload) if payload else None
