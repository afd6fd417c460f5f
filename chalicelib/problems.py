"""Gives each domain error its HTTP status and its body (RFC 9457, application/problem+json)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from chalicelib import errors

STATUS: dict[type[errors.RadgateError], int] = {
    errors.InvalidRequest: 400,
    errors.KeyUnknown: 403,
    errors.KeyExpired: 403,
    errors.KeyRevoked: 403,
    errors.ClientSuspended: 403,
    errors.ScopeMissing: 403,
    errors.NotFound: 404,
    errors.NotFinished: 409,
    errors.IdempotencyConflict: 409,
    errors.PayloadTooLarge: 413,
    errors.TooManyPixels: 413,
    errors.UnsupportedMediaType: 415,
    errors.UnreadableImage: 422,
    errors.NotAChestXray: 422,
    errors.QuotaExceeded: 429,
    errors.Throttled: 429,
    errors.ModelUnavailable: 503,
    errors.StorageUnavailable: 503,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as a client sees it.

    `retry_after`: seconds, where waiting helps. `reasons`: of the gate, None for any other error.
    """

    status: int
    code: str
    title: str
    detail: str
    retry_after: int | None = None
    reasons: tuple[str, ...] | None = None

    def body(self, request_id: str) -> str:
        """Return the JSON document."""
        return json.dumps(self.document(request_id))

    def document(self, request_id: str) -> dict[str, str | int | list[str]]:
        """Return the fields of RFC 9457 and ours."""
        document: dict[str, str | int | list[str]] = {
            "type": f"urn:radgate:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
        }
        if self.reasons is not None:
            document["reasons"] = list(self.reasons)
        return document


def problem_of(error: errors.RadgateError) -> Problem:
    """Return what the client is told of a domain error."""
    return Problem(
        status=STATUS[type(error)],
        code=error.code,
        title=error.title,
        detail=error.detail,
        retry_after=getattr(error, "retry_after", None),
        reasons=getattr(error, "reasons", None),
    )


def defect_problem() -> Problem:
    """Return what the client is told of a defect of ours: an id to quote and nothing else."""
    return Problem(
        status=500,
        code="internal_error",
        title="Something went wrong here",
        detail="The defect is ours and was recorded. Quote the request id if it stays.",
    )
