"""How many processes of a function run at once on the local AWS, and how long a caller waits.

MiniStack starts a process for every call under way. Each of ours loads torch, about 450 MB and
seconds of every core: 25 calls at once were 25 such loads, and nearly all of them ran out of time.
Here a function has a few places, as reserved concurrency gives it; further calls wait in line for
one instead of being refused, because a machine of one's own has no other servers to scale to.
API Gateway ends a call after 29 seconds and answers with the API's own gateway responses;
MiniStack did neither. Patches ``ministack==1.5.33``;
`tests/integration/test_local_concurrency.py` holds it.
"""

# ruff: noqa: ANN401, SLF001 - private functions of an untyped module are the whole subject here

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

PLACES = max(2, os.cpu_count() or 1)  # of one function; two, so that one slow call is not all
GATEWAY_SECONDS = 29.0  # API Gateway's time limit of an integration

Execute = Callable[[dict[str, Any], Any, str], dict[str, Any]]

# Until when the caller waits, by time.monotonic(); None: as long as it takes.
_deadline: ContextVar[float | None] = ContextVar("radgate_deadline", default=None)
# Whether a function made this call: it holds a place that may be the one that is waited for.
_nested: ContextVar[bool] = ContextVar("radgate_nested", default=False)


class Line:
    """Places of one function; who came first is served first."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    def enter(self, deadline: float | None) -> bool:
        """Take a place, waiting for it until `deadline` (of time.monotonic()); False: none came."""
        turn = threading.Event()
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            self._waiting.append(turn)
        if turn.wait(None if deadline is None else max(0.0, deadline - time.monotonic())):
            return True
        with self._lock:
            if turn.is_set():  # it came between the end of the wait and the lock
                return True
            self._waiting.remove(turn)
        return False

    def leave(self) -> None:
        """Give the place to who waits longest, or back."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1


def limit_processes(functions: Any, places: int = PLACES) -> None:
    """Let `functions`, MiniStack's ``lambda_svc``, run `places` processes of a function at once."""
    lines: dict[str, Line] = {}
    lock = threading.Lock()
    execute: Execute = functions._execute_function_warm
    depth: Callable[[Any], int] = functions._inbound_invoke_depth

    def noted(headers: Any) -> int:
        _nested.set(functions._INVOKE_DEPTH_HEADER in headers)
        return depth(headers)

    def in_turn(func: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
        # A function that waits for another call of itself would wait for its own place.
        if _nested.get():
            return execute(func, event, request_id)
        with lock:
            key = functions._inflight_key(func.get("config") or func)
            line = lines.setdefault(key, Line(places))
        if not line.enter(_deadline.get()):
            throttled: dict[str, Any] = functions._throttle_response(
                reason_code="ReservedFunctionConcurrentInvocationLimitExceeded",
                msg="Rate Exceeded.",
            )
            return throttled
        try:
            return execute(func, event, request_id)
        finally:  # also of a process that died or ran out of time
            line.leave()

    functions._inbound_invoke_depth = noted
    functions._execute_function_warm = in_turn


class _FailedError(Exception):
    """The function raised, died, ran out of time or found no place."""


def limit_time(gateway: Any, seconds: float = GATEWAY_SECONDS) -> None:
    """Let `gateway`, MiniStack's ``apigateway_v1``, answer for a function that does not.

    A call that takes longer than `seconds` is an INTEGRATION_TIMEOUT, one that fails or finds no
    place an INTEGRATION_FAILURE. As on AWS the function itself runs on to its own time limit.
    """
    proxy: Callable[..., Coroutine[Any, Any, Any]] = gateway._invoke_lambda_proxy_v1
    shaped: Callable[[Any], tuple[Any, str | None]] = gateway._lambda_proxy_response

    def shaped_or_failed(result: Any) -> tuple[Any, None]:
        answer, error = shaped(result)
        if error or result.get("throttle"):
            raise _FailedError
        return answer, None

    async def invoke(*args: Any, **kwargs: Any) -> Any:
        _deadline.set(time.monotonic() + seconds)  # the task below takes it over
        call = asyncio.create_task(proxy(*args, **kwargs))
        # Not wait_for: it would cancel the call, which MiniStack defers until the function ends.
        await asyncio.wait({call}, timeout=seconds)
        if not call.done():
            _running_on.add(call)
            call.add_done_callback(_ended)
            return gateway._gw_error("INTEGRATION_TIMEOUT", "Endpoint request timed out")
        try:
            return call.result()
        except _FailedError:
            return gateway._gw_error("INTEGRATION_FAILURE", "Internal server error")

    gateway._lambda_proxy_response = shaped_or_failed
    gateway._invoke_lambda_proxy_v1 = invoke


_running_on: set[asyncio.Task[Any]] = set()  # asyncio itself keeps no reference to a task


def _ended(call: asyncio.Task[Any]) -> None:
    _running_on.discard(call)
    if not call.cancelled():
        call.exception()  # looked at, or asyncio reports it as never looked at
