"""Makes the OpenAPI 3.1 document from the models, the table of routes and the table of errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from chalicelib.domain import REASONS
from chalicelib.portal import advice, examples
from chalicelib.portal.openapi_paths import SCHEMAS, Json, described, ref
from chalicelib.portal.operations import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel
    from pydantic.json_schema import JsonSchemaMode

TITLE = "Radgate"
VERSION = "1"  # of the contract
ABOUT = (
    "A chest X-ray API that is sold by key: a radiograph in, calibrated findings, a heatmap and a"
    " PDF report out. Not a medical device; findings are not for diagnosis."
)
_ONCE_KNOWN = (
    "With every answer to a key that is good, but where the storage cannot tell. Of the 403 only"
    " `insufficient_scope` has it; what the gateway itself refuses never does."
)
_HEADERS: dict[str, tuple[str, Json]] = {
    "X-Request-Id": ("The id to quote.", {"type": "string"}),
    "Server-Timing": (
        "Milliseconds of `decode`, `gate`, `predict`, `report`, `store`.",
        {"type": "string"},
    ),
    "RateLimit-Policy": (
        f'Units a period, and its length in seconds: `"studies";q=1000;w=2592000`. {_ONCE_KNOWN}',
        {"type": "string", "pattern": r'^"studies";q=\d+;w=\d+$'},
    ),
    "RateLimit": (
        f'Units left, and seconds until the next period: `"studies";r=999;t=86400`. {_ONCE_KNOWN}',
        {"type": "string", "pattern": r'^"studies";r=\d+;t=\d+$'},
    ),
    "Retry-After": ("Seconds to wait.", {"type": "string", "pattern": r"^\d+$"}),
    "Location": ("Where to ask for the study, relative to this address.", {"type": "string"}),
    "ETag": ("Names this very text.", {"type": "string"}),
}


class _Schema(GenerateJsonSchema):
    """Schemas as a client meets them: an answer has all its fields, and may get more one day."""

    def field_is_required(self, field: Any, *, total: bool) -> bool:  # type: ignore[override]  # noqa: ANN401 - three kinds of pydantic's own
        """Tell whether a field is always there."""
        return self.mode == "serialization" or super().field_is_required(field, total)


def document() -> Json:
    """Return the whole document, ready for JSON."""
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": VERSION,
            "summary": "Chest X-ray analysis by key.",
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        # Where this document lies: only a client knows what stands before its name.
        "servers": [{"url": ".", "description": "The folder of this document."}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "headers": {
                name: {"description": text, "schema": schema}
                for name, (text, schema) in _HEADERS.items()
            },
            "examples": {code: _example(code, status) for code, status in advice.codes().items()},
            "securitySchemes": {
                "key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-api-key",
                    "description": "41 letters and digits; `rgl` (live) or `rgt` (test) leads.",
                }
            },
        },
    }


def _schemas() -> Json:
    kinds: list[tuple[type[BaseModel], JsonSchemaMode]] = []
    for operation in OPERATIONS:
        if operation.body is not None:
            kinds.append((operation.body, "validation"))
        kinds += [(a.model, "serialization") for a in operation.answers.values() if a.model]
    _, made = models_json_schema(kinds, ref_template=SCHEMAS, schema_generator=_Schema)
    schemas: Json = made["$defs"]
    taken = {operation.body.__name__ for operation in OPERATIONS if operation.body}
    for name in schemas.keys() - taken:
        schemas[name].pop("additionalProperties", None)
    schemas["Problem"] = _problem(advice.codes())
    # The domain knows no HTTP: there a failed study's error is any document.
    schemas["Study"]["properties"]["error"] = {
        "anyOf": [ref("Problem"), {"type": "null"}],
        "description": "Why it failed, in the shape of an error.",
    }
    return dict(sorted(schemas.items()))


def _problem(codes: Iterable[str]) -> Json:
    text = {"type": "string"}
    return {
        "title": "Problem",
        "type": "object",
        "description": "An error (RFC 9457). Program against `code`; `detail` is for people.",
        "required": ["type", "title", "status", "detail", "code", "request_id"],
        "properties": {
            "type": {**text, "description": "`urn:radgate:problem:` and the code."},
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "code": {**text, "enum": list(codes)},
            "request_id": text,
            "reasons": {
                "type": "array",
                "items": {"type": "string", "enum": list(REASONS)},
                "description": "Of `not_a_chest_xray` alone: what spoke against the image.",
            },
        },
    }


def _example(code: str, status: int) -> Json:
    title, text = advice.titles()[code], advice.advice()[code]
    return {"summary": title, "description": text, "value": examples.problem(code, status, title)}
