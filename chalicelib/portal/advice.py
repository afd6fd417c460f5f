"""Tells clients, in one sentence for each code, what an error means and what to do about it."""

from __future__ import annotations

from chalicelib import errors
from chalicelib.problems import STATUS, Problem, defect_problem

ADVICE: dict[type[errors.RadgateError], str] = {
    errors.InvalidRequest: "A parameter, a header or the body is wrong; `detail` names it.",
    errors.KeyUnknown: "No key was sent, or none that works here: is a character missing?",
    errors.KeyExpired: "The key's life is over: ask your operator for another.",
    errors.KeyRevoked: "The key was taken back: ask your operator for another.",
    errors.ClientSuspended: "Access is paused for all your keys: ask your operator.",
    errors.ScopeMissing: "The key was not issued for this; `detail` names the scope.",
    errors.NotFound: "There is nothing of that name, or it is not yours.",
    errors.NotFinished: "The study has no result yet, or the upload no bytes: ask again later.",
    errors.IdempotencyConflict: (
        "The `Idempotency-Key` came with another request, or its study was erased: use a new one."
    ),
    errors.PayloadTooLarge: "Too many bytes for this route: `POST /uploads` takes up to 100 MB.",
    errors.TooManyPixels: "The image has more pixels than we decode: make it smaller.",
    errors.UnsupportedMediaType: "The bytes are none of PNG, JPEG and DICOM.",
    errors.UnreadableImage: "The file is broken, or of a kind that we cannot decode.",
    errors.NotAChestXray: "Readable, but no frontal chest X-ray; `reasons` names why.",
    errors.QuotaExceeded: "The plan's studies or requests are used up: wait `Retry-After` seconds.",
    errors.Throttled: "Too fast for your plan: wait `Retry-After` seconds.",
    errors.ModelUnavailable: "No model can answer now: wait `Retry-After` seconds.",
    errors.StorageUnavailable: "The storage does not answer now: wait `Retry-After` seconds.",
}
DEFECT: Problem = defect_problem()
DEFECT_ADVICE = "A defect of ours: quote the `request_id`."


def advice() -> dict[str, str]:
    """Return what to do for every code that an answer may have, in the order of their statuses."""
    known = {kind.code: text for kind, text in ADVICE.items()}
    return {code: known.get(code, DEFECT_ADVICE) for code in codes()}


def codes() -> dict[str, int]:
    """Return every code with its status, lowest first."""
    found = {kind.code: status for kind, status in STATUS.items()} | {DEFECT.code: DEFECT.status}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def titles() -> dict[str, str]:
    """Return every code with the title that its problems bear."""
    return {kind.code: kind.title for kind in STATUS} | {DEFECT.code: DEFECT.title}
