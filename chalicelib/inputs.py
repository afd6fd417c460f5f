"""What clients may send: query parameters, JSON documents and the Idempotency-Key."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from chalicelib.domain import Idempotency, StudyStatus
from chalicelib.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Model = TypeVar("Model", bound=BaseModel)
# A Lambda function takes 6 MB a call; base64 leaves 4.5 MB of it for an image.
MAX_BODY_BYTES = 4_500_000
# A string of structured fields (RFC 8941), as the IETF draft asks for, or the same without quotes.
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BARE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x7e]+")
_LONGEST_KEY = 255
_NAME = r"[A-Za-z0-9!#$&^_.+-]+"  # of a media type (RFC 6838)
_DICOM_MARK = slice(128, 132)  # what stands before it may be anything, a brace as well


class PageQuery(BaseModel):
    """What `GET /studies` may be asked."""

    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = None
    status: StudyStatus | None = None


class ReportQuery(BaseModel):
    """What `GET /studies/{id}/report` may be asked."""

    format: Literal["pdf"] = "pdf"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class UploadRequest(_Document):
    """What `POST /uploads` takes. `size`: bytes of the image, or more."""

    size: StrictInt = Field(ge=1)
    content_type: str = Field(max_length=100, pattern=f"^{_NAME}/{_NAME}$")


class UploadReference(_Document):
    """What `POST /studies` takes in the place of an image."""

    upload_id: str


def query_of(parameters: Mapping[str, str], model: type[Model]) -> Model:
    """Return query parameters as `model`. Raises InvalidRequest."""
    try:
        return model.model_validate(dict(parameters))
    except ValidationError as error:
        raise InvalidRequest(_fault("parameter", error, model)) from None


def document_of(body: bytes, model: type[Model]) -> Model:
    """Return a JSON body as `model`. Raises InvalidRequest."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise InvalidRequest("The body is not a JSON document.") from None
        raise InvalidRequest(_fault("field", error, model)) from None


def posted(body: bytes, content_type: str) -> bytes | UploadReference:
    """Return the image that was posted, or which upload holds it. Raises InvalidRequest.

    The bytes decide: no PNG and no JPEG begins with a brace, and DICOM has its own mark. The
    declared type only tells text that is broken JSON from an image.
    """
    if body[_DICOM_MARK] == b"DICM":
        return body
    if body.lstrip()[:1] == b"{" or (_is_json(content_type) and _is_text(body)):
        return document_of(body, UploadReference)
    return body


def idempotency_of(
    header: str | None, route: str, content: bytes | UploadReference
) -> Idempotency | None:
    """Return the client's word for this request, None without one. Raises InvalidRequest.

    `route`: method and path. The same key in quotes and without is one key.
    """
    if header is None:
        return None
    key = _key_of(header.strip())
    if isinstance(content, UploadReference):  # however its JSON was laid out
        content = json.dumps(content.model_dump()).encode()
    digest = hashlib.sha256(f"{route}\n".encode() + hashlib.sha256(content).digest())
    return Idempotency(key=key, fingerprint=digest.hexdigest())


def _key_of(header: str) -> str:
    if quoted := _QUOTED.fullmatch(header):
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    else:
        key = header if _BARE.fullmatch(header) else ""
    if not 1 <= len(key) <= _LONGEST_KEY:
        raise InvalidRequest(
            f"Idempotency-Key takes 1 to {_LONGEST_KEY} printable ASCII characters, best in quotes."
        )
    return key


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fault(kind: str, error: ValidationError, model: type[BaseModel]) -> str:
    """Say what is wrong with the first fault, in the names that `model` has.

    pydantic's message names what was expected. What was sent is not repeated, and that is true of a
    field's name as well: a caller may have put anything there.
    """
    known = model.model_fields
    first = error.errors(include_input=False, include_url=False)[0]
    if not first["loc"]:
        return f"The body is to be a JSON object with {_listed(known)}."
    name = str(first["loc"][0])
    if name not in known:
        return f"There is a {kind} that this route does not know; it knows {_listed(known)}."
    return f"{kind.capitalize()} {name!r}: {first['msg']}."


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
