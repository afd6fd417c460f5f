"""Makes the OpenAPI 3.1 document from the models, the table of routes and the table of errors."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from chalicelib.errors import ServiceUnavailable
from chalicelib.portal import advice, examples
from chalicelib.portal.operations import OPERATIONS, Answer, Operation
from chalicelib.portal.samples import samples
from chalicelib.problems import STATUS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel
    from pydantic.json_schema import JsonSchemaMode

Json = dict[str, Any]

TITLE = "Radgate"
VERSION = "1"  # of the contract
ABOUT = (
    "A chest X-ray API that is sold by key: a radiograph in, calibrated findings, a heatmap and a"
    " PDF report out. Not a medical device; findings are not for diagnosis."
)
IMAGE_TYPES = ("application/dicom", "image/png", "image/jpeg", "application/octet-stream")
_SCHEMAS = "#/components/schemas/{model}"
_HEADERS: dict[str, tuple[str, Json]] = {
    "X-Request-Id": ("The id to quote.", {"type": "string"}),
    "Server-Timing": (
        "Milliseconds of `decode`, `gate`, `predict`, `report`, `store`.",
        {"type": "string"},
    ),
    "RateLimit-Policy": (
        'Units a period, and its length in seconds: `"studies";q=1000;w=2592000`.',
        {"type": "string", "pattern": r'^"studies";q=\d+;w=\d+$'},
    ),
    "RateLimit": (
        'Units left, and seconds until the next period: `"studies";r=999;t=86400`.',
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
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
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
    _, made = models_json_schema(kinds, ref_template=_SCHEMAS, schema_generator=_Schema)
    schemas: Json = made["$defs"]
    taken = {operation.body.__name__ for operation in OPERATIONS if operation.body}
    for name in schemas.keys() - taken:
        schemas[name].pop("additionalProperties", None)
    schemas["Problem"] = _problem(advice.codes())
    # The domain knows no HTTP: there a failed study's error is any document.
    schemas["Study"]["properties"]["error"] = {
        "anyOf": [_ref("Problem"), {"type": "null"}],
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
        },
    }


def _operation(operation: Operation) -> Json:
    made: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.text,
        "parameters": _parameters(operation),
        "responses": {
            **{str(status): _answer(operation, status) for status in operation.answers},
            **_refusals(operation),
        },
        "x-codeSamples": samples(operation),
    }
    if operation.scope is not None:
        # A name of a role, which OpenAPI 3.1 allows for keys too: here the scope that is needed.
        made["security"] = [{"key": [operation.scope.value]}]
    if operation.image or operation.body is not None:
        made["requestBody"] = {"required": True, "content": _body(operation)}
    return made


def _parameters(operation: Operation) -> list[Json]:
    found: list[Json] = []
    if "{study_id}" in operation.path:
        schema = {"type": "string"}
        found.append(_parameter("study_id", "path", "Id of a study.", schema, required=True))
    if operation.query is not None:
        fields = operation.query.model_json_schema(ref_template=_SCHEMAS)
        for name, schema in fields["properties"].items():
            known = _inlined(schema, fields.get("$defs", {}))
            found.append(_parameter(name, "query", _QUERY[name], known))
    if operation.once:
        text = "Your own word for this request, 1 to 255 printable ASCII characters, in quotes."
        found.append(_parameter("Idempotency-Key", "header", text, {"type": "string"}))
    if 304 in operation.answers:  # noqa: PLR2004 - the status itself
        text = "The `ETag` of the text that you have."
        found.append(_parameter("If-None-Match", "header", text, {"type": "string"}))
    return found


_QUERY = {
    "limit": "How many at most.",
    "cursor": "`next_cursor` of the page before.",
    "status": "Only those of this status.",
    "format": "Which form of the report.",
}


def _parameter(name: str, place: str, text: str, schema: Json, *, required: bool = False) -> Json:
    made = {"name": name, "in": place, "description": text, "schema": schema}
    return {**made, "required": True} if required else made


def _inlined(schema: Json, known: Json) -> Json:
    """Return a parameter's schema without references, without null, which no query can hold."""
    options = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    (only,) = options
    if "$ref" in only:
        only = known[only["$ref"].rpartition("/")[2]]
    kept = {k: v for k, v in schema.items() if k == "default" and v is not None}
    return {k: v for k, v in only.items() if k not in {"title", "description"}} | kept


def _body(operation: Operation) -> Json:
    image: Json = {} if not operation.image else {kind: {} for kind in IMAGE_TYPES}
    if operation.body is None:
        return image
    example = examples.of(operation.body)
    return {
        **image,
        "application/json": {"schema": _ref(operation.body.__name__), "example": example},
    }


def _answer(operation: Operation, status: int) -> Json:
    answer = operation.answers[status]
    headers = _always(operation)
    headers += ["Location"] if answer.located else []
    headers += ["ETag"] if 304 in operation.answers else []  # noqa: PLR2004
    made: Json = {"description": answer.text, "headers": _headers(headers)}
    if (content := _content(answer, status)) is not None:
        made["content"] = content
    return made


def _always(operation: Operation) -> list[str]:
    """Return the headers that any answer of an operation may have, once the caller is known."""
    keyed = ["RateLimit-Policy", "RateLimit"] if operation.scope is not None else []
    return ["X-Request-Id", *keyed, *(["Server-Timing"] if operation.timed else [])]


def _content(answer: Answer, status: int) -> Json | None:
    if answer.model is not None:
        example = examples.of(answer.model, status)
        return {"application/json": {"schema": _ref(answer.model.__name__), "example": example}}
    if not answer.media_type:
        return None
    text = answer.media_type.startswith("text/")
    return {answer.media_type: {"schema": {"type": "string" if text else "object"}}}


def _refusals(operation: Operation) -> Json:
    """Return the errors of an operation, those of one status together."""
    codes = {kind.code: STATUS[kind] for kind in operation.refusals}
    codes[advice.DEFECT.code] = advice.DEFECT.status
    waits = {STATUS[kind] for kind in operation.refusals if _passes(kind)}
    made: Json = {}
    for status in sorted(set(codes.values())):
        these = [code for code, found in codes.items() if found == status]
        schema = {
            "allOf": [_ref("Problem")],
            "properties": {"status": {"const": status}, "code": {"enum": these}},
        }
        headers = [*_always(operation), *(["Retry-After"] if status in waits else [])]
        made[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "headers": _headers(headers),
            "content": {
                "application/problem+json": {
                    "schema": schema,
                    "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in these},
                }
            },
        }
    return made


def _passes(kind: type[Exception]) -> bool:
    return issubclass(kind, ServiceUnavailable) or "retry_after" in kind.__init__.__annotations__


def _example(code: str, status: int) -> Json:
    title, text = advice.titles()[code], advice.advice()[code]
    return {"summary": title, "description": text, "value": examples.problem(code, status, title)}


def _headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _ref(name: str) -> Json:
    return {"$ref": _SCHEMAS.format(model=name)}
