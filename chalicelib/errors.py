"""The domain's errors. They know no HTTP and no AWS; `http.py` gives each its status.

RadgateError
├── RequestRefused              the caller must change something
│   ├── InvalidRequest
│   ├── AccessDenied
│   │   ├── KeyUnknown
│   │   ├── KeyExpired
│   │   ├── KeyRevoked
│   │   ├── ClientSuspended
│   │   └── ScopeMissing
│   ├── NotFound                also what belongs to another client
│   ├── NotFinished
│   ├── IdempotencyConflict
│   ├── PayloadTooLarge
│   ├── TooManyPixels
│   ├── UnsupportedMediaType
│   ├── UnreadableImage
│   ├── NotAChestXray
│   ├── QuotaExceeded
│   └── Throttled
└── ServiceUnavailable          we must change something; trying again may help
    ├── ModelUnavailable
    └── StorageUnavailable

`code` is the word the contract promises to clients. A detail is written for the client:
it never holds a key, image bytes, patient data or another client's name.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from datetime import datetime

    from chalicelib.domain import Caller


class RadgateError(Exception):
    """Anything that Radgate refuses or cannot do, with a `detail` fit for the client's eyes."""

    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class RequestRefused(RadgateError):
    """The request cannot succeed as it stands."""


class InvalidRequest(RequestRefused):
    """A parameter, header or body is not what the contract asks for."""

    code = "invalid_request"
    title = "The request is not valid"


class AccessDenied(RequestRefused):
    """The caller may not do this."""


class KeyUnknown(AccessDenied):
    """No key was sent, or none that was ever issued."""

    code = "missing_or_unknown_key"
    title = "The API key is missing or unknown"


class KeyExpired(AccessDenied):
    """The key's life is over."""

    code = "key_expired"
    title = "The API key has expired"


class KeyRevoked(AccessDenied):
    """The key was taken back."""

    code = "key_revoked"
    title = "The API key was revoked"


class ClientSuspended(AccessDenied):
    """The client's access is paused as a whole."""

    code = "client_suspended"
    title = "The client is suspended"


class ScopeMissing(AccessDenied):
    """The key is good but was not issued for this. `caller`: whose key it is."""

    code = "insufficient_scope"
    title = "The API key lacks the scope for this"

    def __init__(self, detail: str, caller: Caller | None = None) -> None:
        super().__init__(detail)
        self.caller = caller


class NotFound(RequestRefused):
    """Nothing of that name belongs to the caller."""

    code = "not_found"
    title = "Not found"


class NotFinished(RequestRefused):
    """The study has no result yet, or the upload no bytes."""

    code = "not_finished"
    title = "Not finished yet"


class IdempotencyConflict(RequestRefused):
    """The same idempotency key came with another body."""

    code = "idempotency_conflict"
    title = "The idempotency key was used for another request"


class PayloadTooLarge(RequestRefused):
    """More bytes than this route takes."""

    code = "payload_too_large"
    title = "The body is too large"


class TooManyPixels(RequestRefused):
    """The image would unpack into more pixels than we decode."""

    code = "too_many_pixels"
    title = "The image has too many pixels"


class UnsupportedMediaType(RequestRefused):
    """The bytes are none of PNG, JPEG and DICOM."""

    code = "unsupported_media_type"
    title = "The image format is not supported"


class UnreadableImage(RequestRefused):
    """The format is known, the content is broken or of a kind we cannot decode."""

    code = "unreadable_image"
    title = "The image cannot be read"


class NotAChestXray(RequestRefused):
    """The image is readable but is no frontal chest radiograph. `reasons`: the gate's words."""

    code = "not_a_chest_xray"
    title = "The image is not a frontal chest X-ray"

    def __init__(self, detail: str, reasons: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.reasons = reasons


class QuotaExceeded(RequestRefused):
    """The plan's units are used up. `retry_after`: seconds until the next period."""

    code = "quota_exceeded"
    title = "The quota is used up"

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after

    @classmethod
    def until(cls, resets_at: datetime, limit: int, period: str, now: datetime) -> Self:
        """Return the refusal for a `period` ("day", "week", "month") that ends at `resets_at`."""
        return cls(
            f"All {limit} studies of this {period} are used up;"
            f" the next {period} begins at {resets_at:%Y-%m-%dT%H:%M:%SZ}.",
            retry_after=max(1, ceil((resets_at - now).total_seconds())),
        )


class Throttled(RequestRefused):
    """Requests come faster than the plan allows. `retry_after`: seconds."""

    code = "throttled"
    title = "Too many requests"

    def __init__(self, detail: str, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class ServiceUnavailable(RadgateError):
    """We cannot answer now. `retry_after`: seconds after which a new try is worth it."""

    def __init__(self, detail: str, retry_after: int = 5) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class ModelUnavailable(ServiceUnavailable):
    """No pack is installed, or the active one failed its checks."""

    code = "model_unavailable"
    title = "No model can answer"


class StorageUnavailable(ServiceUnavailable):
    """The table or the bucket did not answer."""

    code = "storage_unavailable"
    title = "The storage does not answer"
