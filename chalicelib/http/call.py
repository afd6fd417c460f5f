"""One request: what a handler reads of it, and how it answers."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalice.app import Response

from chalicelib import bootstrap, errors, inputs
from chalicelib.domain import StudyStatus
from chalicelib.services.analysis import GATEWAY_SECONDS
from chalicelib.services.quota import Units
from chalicelib.services.timing import Deadline, awaited

if TYPE_CHECKING:
    from collections.abc import Callable

    from chalice.app import Request
    from pydantic import BaseModel

    from chalicelib.domain import Caller, Idempotency, Study
    from chalicelib.inputs import Model
    from chalicelib.portal.pages import Page
    from chalicelib.problems import Problem
    from chalicelib.services.timing import Result, Stopwatch

Headers = dict[str, str | list[str]]


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

    def in_time(self, ask: Callable[[], Result]) -> Result:
        """Return what `ask` returns, or raise what it raises, while API Gateway waits.

        Raises StorageUnavailable before it gives up. What was asked for may come about after that.
        """
        return awaited(ask, self.deadline())

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
