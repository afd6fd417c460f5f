"""Hides HTTP: who calls, what was sent, and how answers and errors look on the wire."""

from __future__ import annotations

import functools
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from chalice.app import Chalice, Response

from chalicelib import bootstrap, errors, inputs
from chalicelib.domain import StudyStatus
from chalicelib.problems import Problem, defect_problem, problem_of
from chalicelib.services.analysis import GATEWAY_SECONDS
from chalicelib.services.quota import Units
from chalicelib.services.timing import Deadline, Stopwatch
from chalicelib.services.warming import WARM_UP

if TYPE_CHECKING:
    from collections.abc import Callable

    from chalice.app import Request
    from pydantic import BaseModel

    from chalicelib.domain import Caller, Idempotency, Scope, Study, Usage
    from chalicelib.inputs import Model
    from chalicelib.portal.pages import Page

# The declared type is a hint, the bytes decide: no route refuses a content type.
ANY_TYPE = ["*/*"]

Headers = dict[str, str | list[str]]
logger = Logger(service="radgate")


class Api(Chalice):
    """Chalice, except that it takes warm-ups, and answers requests without an `Accept` header.

    With binary types `*/*` Chalice refuses such requests with 400 on every route, and
    urllib and some SDKs send none.
    """

    def __call__(self, event: dict[str, Any], context: object) -> Any:  # noqa: ANN401
        """Handle one API Gateway event (REST, payload version 1), or the schedule's warm-up."""
        if event == WARM_UP:
            return bootstrap.warm_up().model_dump()
        headers = event.get("headers") or {}
        if not any(name.lower() == "accept" for name in headers):
            event = {**event, "headers": {**headers, "Accept": "*/*"}}
        return super().__call__(event, context)


@dataclass
class Call:
    """One request: what a handler reads of it and how it answers.

    `study_id`: the study that it made, for the log. `code`: of the error that it ended with.
    """

    request: Request
    stopwatch: Stopwatch
    caller: Caller | None = None
    study_id: str | None = None
    code: str = ""

    @property
    def id(self) -> str:
        """API Gateway's id of this request."""
        return str(self.request.context.get("requestId", "unknown"))

    @property
    def client_id(self) -> str:
        """The caller's client; only on keyed routes."""
        return self.identified.client.id

    @property
    def identified(self) -> Caller:
        """The caller; only on keyed routes."""
        if self.caller is None:
            raise AssertionError("an open route has no caller")
        return self.caller

    @functools.cached_property
    def units(self) -> Units:
        """What the caller has left, counted once for a request; only on keyed routes."""
        return Units(bootstrap.ledger(), self.identified)

    def body(self) -> bytes:
        """Return the raw body, at least one byte. Raises PayloadTooLarge, InvalidRequest."""
        body = self._raw_body()
        if len(body) > inputs.MAX_BODY_BYTES:
            raise errors.PayloadTooLarge(
                f"The body has {len(body):,} bytes, this route takes {inputs.MAX_BODY_BYTES:,}. "
                "POST /uploads gives a link for larger images."
            )
        if not body:
            raise errors.InvalidRequest("The body is empty: post the bytes of an image.")
        return body

    def _raw_body(self) -> bytes:
        body = self.request.raw_body
        return body.encode() if isinstance(body, str) else body

    def query(self, model: type[Model]) -> Model:
        """Return the query parameters as `model`. Raises InvalidRequest."""
        return inputs.query_of(self.request.query_params or {}, model)

    def document(self, model: type[Model]) -> Model:
        """Return the JSON body as `model`. Raises PayloadTooLarge, InvalidRequest."""
        return inputs.document_of(self.body(), model)

    def posted(self) -> bytes | inputs.UploadReference:
        """Return the posted image or which upload holds it. Raises as `document` does."""
        return inputs.posted(self.body(), self.request.headers.get("content-type", ""))

    def idempotency(self, content: bytes | inputs.UploadReference) -> Idempotency | None:
        """Return the client's own word for this request, if it sent one. Raises InvalidRequest."""
        header = self.request.headers.get("idempotency-key")
        route = f"{self.request.method} {self.request.path}"
        return inputs.idempotency_of(header, route, content)

    def deadline(self) -> Deadline:
        """Return when API Gateway gives up; its clock began before this function woke up."""
        began = self.request.context.get("requestTimeEpoch")  # milliseconds
        age = bootstrap.now().timestamp() - began / 1000 if isinstance(began, int) else 0.0
        return Deadline(GATEWAY_SECONDS - max(0.0, age))

    def answer(self, value: BaseModel, status: int = 200) -> Response:
        """Return `value` as JSON."""
        return self._response(value.model_dump_json(), "application/json", status, {})

    def study(self, study: Study) -> Response:
        """Return a study with its result, or 202 for one that was queued instead."""
        self.study_id = study.id
        return self.accepted(study) if study.status is StudyStatus.QUEUED else self.answer(study)

    def accepted(self, study: Study) -> Response:
        """Return 202 with a study that waits, or waited, in the queue, and where to look for it."""
        # Relative, since only the client knows what stands before the route: a stage, the base
        # path of a domain of the operator's own, or the long path of the local AWS.
        self.study_id = study.id
        where: Headers = {"Location": f"studies/{study.id}"}
        return self._response(study.model_dump_json(), "application/json", 202, where)

    def page(self, page: Page) -> Response:
        """Return a page, or 304 to a browser that has it; to HEAD its headers alone."""
        known = page.etag in self.request.headers.get("if-none-match", "")
        body = b"" if known or self.request.method == "HEAD" else page.body
        headers: Headers = {**page.headers, "X-Request-Id": self.id}
        return Response(body=body, status_code=304 if known else 200, headers=headers)

    def nothing(self) -> Response:
        """Return 204."""
        return self._response("", "application/json", 204, {})

    def problem(self, problem: Problem) -> Response:
        """Return an error in the shape of RFC 9457."""
        self.code = problem.code
        headers: Headers = (
            {} if problem.retry_after is None else {"Retry-After": str(problem.retry_after)}
        )
        return self._response(
            problem.body(self.id), "application/problem+json", problem.status, headers
        )

    def _response(self, body: str, media_type: str, status: int, headers: Headers) -> Response:
        headers = {
            "Content-Type": media_type,
            "Cache-Control": "no-store",
            "X-Request-Id": self.id,
            **headers,
        }
        if laps := self.stopwatch.milliseconds():
            headers["Server-Timing"] = ", ".join(
                f"{name};dur={duration:.1f}" for name, duration in laps.items()
            )
        # Bytes, because a text body under a binary content type is refused by Chalice.
        return Response(body=body.encode(), status_code=status, headers=headers)


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
            call.caller = bootstrap.identity().verify(secret, scope)
            call.stopwatch = bootstrap.stopwatch()
        with call.stopwatch.about("request", request_id=call.id):
            response = handler(call, **path)
            call.stopwatch.annotate(study_id=call.study_id or "")
    except errors.RadgateError as error:
        response = call.problem(problem_of(error))
    except Exception:  # noqa: BLE001 - the last line before the wire
        _log_defect(call)
        response = call.problem(defect_problem())
    if call.caller is not None:
        response.headers.update(_limits(call.units))
    return response


def _limits(units: Units) -> Headers:
    """Return the IETF draft's rate-limit headers for the client's quota of studies."""
    try:
        usage = units.usage()
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
