"""One operation of the OpenAPI document: parameters, body, answers and errors."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from chalicelib.errors import ServiceUnavailable
from chalicelib.portal import advice, examples
from chalicelib.portal.samples import samples
from chalicelib.problems import STATUS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chalicelib.portal.operations import Answer, Operation

Json = dict[str, Any]

IMAGE_TYPES = ("application/dicom", "image/png", "image/jpeg", "application/octet-stream")
SCHEMAS = "#/components/schemas/{model}"


def described(operation: Operation) -> Json:
    """Return one operation with its parameters, its body, its answers and its errors."""
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
        fields = operation.query.model_json_schema(ref_template=SCHEMAS)
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
        "application/json": {"schema": ref(operation.body.__name__), "example": example},
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
        return {"application/json": {"schema": ref(answer.model.__name__), "example": example}}
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
            "allOf": [ref("Problem")],
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


def _headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def ref(name: str) -> Json:
    """Return the reference to a schema of the document by its model's name."""
    return {"$ref": SCHEMAS.format(model=name)}
