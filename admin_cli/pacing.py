"""Keeps calls to API Gateway's control plane under its low limits, which are per account."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds between two calls of one operation, from AWS's published quotas.
_SECONDS = {
    "CreateUsagePlan": 20.0,
    "UpdateUsagePlan": 20.0,
    "DeleteUsagePlan": 20.0,
    "CreateApiKey": 0.2,
    "DeleteApiKey": 0.2,
    "UpdateApiKey": 0.2,
    "CreateUsagePlanKey": 0.2,
    "DeleteUsagePlanKey": 0.2,
}
_EVERY_CALL = 0.1  # ten a second for all operations together


class Pace:
    """Waits before a call as long as its operation asks for.

    `timer` returns seconds and never runs backwards; `pause` waits for seconds.
    """

    def __init__(
        self,
        timer: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._timer = timer
        self._pause = pause
        self._next: dict[str, float] = {}

    def keep(self, operation: str) -> None:
        """Return when a call of `operation` may be sent."""
        now = self._timer()
        due = max(self._next.get(operation, now), self._next.get("", now))
        if due > now:
            self._pause(due - now)
        sent = max(now, due)
        self._next[operation] = sent + _SECONDS.get(operation, 0.0)
        self._next[""] = sent + _EVERY_CALL

    def attach(self, client: Any) -> None:  # noqa: ANN401 - botocore's events are untyped
        """Pace every attempt of a boto3 client, its own retries too."""

        def keep(event_name: str, **_: object) -> None:
            self.keep(event_name.rsplit(".", 1)[-1])

        client.meta.events.register_first("before-send.apigateway.*", keep)
