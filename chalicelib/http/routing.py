"""The API itself: its routes with and without a key, and what is logged of every answer."""

from __future__ import annotations

import functools
import sys
import traceback
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from chalice.app import Chalice

from chalicelib import bootstrap, errors
from chalicelib.http.call import Call
from chalicelib.problems import defect_problem, problem_of
from chalicelib.services.timing import Deadline, Stopwatch, awaited
from chalicelib.services.warming import WARM_UP

if TYPE_CHECKING:
    from collections.abc import Callable

    from chalice.app import Response

    from chalicelib.domain import Scope, Usage
    from chalicelib.http.call import Headers

# The declared type is a hint, the bytes decide: no route refuses a content type.
ANY_TYPE = ["*/*"]

# Of a request's time, for the check of its key: room for a second try of a call of the table, and
# for an answer before API Gateway gives up, also where a cold start came before.
KEY_SECONDS = 8.0
# For the counter, where it is read for the headers alone.
HEADERS_SECONDS = 4.0

logger = Logger(service="radgate")


class Api(Chalice):
    """Chalice, except that it takes warm-ups, and answers requests without an `Accept` header.

    With binary types `*/*` Chalice refuses such requests with 400 on every route, and
    urllib and some SDKs send none.
    """

    def __call__(self, event: dict[str, Any], context: object) -> Any:  # noqa: ANN401
        """Handle one API Gateway event (REST, payload version 1), or the schedule's warm-up."""
        bootstrap.begin_call(context)
        if event == WARM_UP:
            return bootstrap.warm_up().model_dump()
        headers = event.get("headers") or {}
        if not any(name.lower() == "accept" for name in headers):
            event = {**event, "headers": {**headers, "Accept": "*/*"}}
        return super().__call__(event, context)


def open_route(api: Api) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
    """Decorate a handler that needs no key; it is called with a `Call` and the path's parts."""
    return _route(api, None)


def keyed(api: Api, scope: Scope) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
    """Decorate a handler that needs a key with `scope`; `Call.caller` is then known."""
    return _route(api, scope)


def _route(
    api: Api, scope: Scope | None
) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
    def decorate(handler: Callable[..., Response]) -> Callable[..., Response]:
        @functools.wraps(handler)
        def view(**path: str) -> Response:
            if api.current_request is None:
                raise AssertionError("a view is only ever called with a request")
            call = Call(api.current_request, Stopwatch())
            response = _answer(call, scope, handler, path)
            _log(call, response)
            if scope is not None:
                _measure(call)
            return response

        return view

    return decorate


def _answer(
    call: Call, scope: Scope | None, handler: Callable[..., Response], path: dict[str, str]
) -> Response:
    # Translated here and not in a middleware: Chalice turns an exception that leaves a view
    # into a 500 before any middleware sees it.
    try:
        if scope is not None:
            secret = call.request.headers.get("x-api-key")
            check = functools.partial(bootstrap.identity().verify, secret, scope)
            call.caller = awaited(check, Deadline(KEY_SECONDS))
            call.stopwatch = bootstrap.stopwatch()
        with call.stopwatch.about("request", request_id=call.id):
            response = handler(call, **path)
            call.stopwatch.annotate(study_id=call.study_id or "")
    except errors.RadgateError as error:
        if isinstance(error, errors.ScopeMissing):
            call.caller = error.caller  # a good key: its quota may be told, and who asked noted
        response = call.problem(problem_of(error))
    except Exception:  # noqa: BLE001 - the last line before the wire
        _log_defect(call)
        response = call.problem(defect_problem())
    if call.caller is not None:
        response.headers.update(_limits(call))
    return response


def _limits(call: Call) -> Headers:
    """Return the IETF draft's rate-limit headers for the client's quota of studies."""
    left = min(call.deadline().left(), HEADERS_SECONDS)
    try:
        usage = call.units.counted or awaited(call.units.usage, Deadline(left))
    except errors.StorageUnavailable:
        return {}  # the answer itself matters more than how much of the quota is left
    return rate_limit_headers(usage, bootstrap.now().timestamp())


def rate_limit_headers(usage: Usage, now: float) -> Headers:
    """Return `RateLimit-Policy` and `RateLimit`; `now`: seconds since the epoch."""
    window = int((usage.resets_at - usage.period_start).total_seconds())
    wait = max(0, int(usage.resets_at.timestamp() - now))
    return {
        "RateLimit-Policy": f'"studies";q={usage.limit};w={window}',
        "RateLimit": f'"studies";r={usage.remaining};t={wait}',
    }


def _log(call: Call, response: Response) -> None:
    logger.info(
        "request",
        request_id=call.id,
        method=call.request.method,
        route=call.request.path,
        status=response.status_code,
        client=call.caller.client.id if call.caller else None,
        key=call.caller.key.id if call.caller else None,
        study_id=call.study_id,
        milliseconds={k: round(v, 1) for k, v in call.stopwatch.milliseconds().items()},
    )


def _measure(call: Call) -> None:
    """Count a request by how it ended, and have the time of each of its parts in the metrics."""
    if call.caller is None and call.code == "internal_error":
        return  # perhaps it is the settings that are amiss, and they tell of which stage this is
    monitor = bootstrap.monitor("api_handler")
    monitor.measure("Requests", 1, "Count", outcome=call.code or "answered")
    for part, milliseconds in call.stopwatch.milliseconds().items():
        monitor.measure("RequestTime", milliseconds, "Milliseconds", part=part)


def _log_defect(call: Call) -> None:
    # The place and the kind, never the text: a third-party exception may quote its input.
    kind, _, trace = sys.exc_info()
    logger.error(
        "defect",
        request_id=call.id,
        route=call.request.path,
        kind=kind.__name__ if kind else None,
        where=[f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(trace)],
    )
