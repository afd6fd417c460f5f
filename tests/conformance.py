"""Holds an answer of the service against the OpenAPI document that the service gives out."""

from __future__ import annotations

import copy
import json
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from chalicelib.portal.openapi import document

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]
_NAME = "urn:openapi"
# Those headers of ours that the document tells of; the rest are the browser's.
_TOLD = {
    "x-request-id",
    "server-timing",
    "ratelimit-policy",
    "ratelimit",
    "retry-after",
    "location",
    "etag",
}


@cache
def strict_document() -> Json:
    """Return the document, except that no answer may have a field that it does not tell of."""
    strict = copy.deepcopy(document())
    for schema in strict["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return strict


@cache
def _registry() -> Registry[Any]:
    resource = Resource.from_contents(strict_document(), default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource(_NAME, resource)
    return registry


def validate(schema: Json, value: object) -> None:
    """Raise jsonschema's ValidationError when a value is not what a schema of the document says."""
    moved = json.loads(json.dumps(schema).replace('"#/', f'"{_NAME}#/'))
    checker = Draft202012Validator.FORMAT_CHECKER
    assert "date-time" in checker.checkers
    Draft202012Validator(moved, registry=_registry(), format_checker=checker).validate(value)


def conforms(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Hold one answer to the document. `path`: of the route; `headers`: names in small letters."""
    operation = strict_document()["paths"][path][method.lower()]
    told = operation["responses"].get(str(status))
    assert told is not None, f"{method} {path} may not answer {status}"
    promised = {name.lower() for name in told["headers"]}
    sent = _TOLD & headers.keys()
    assert sent <= promised, f"{method} {path} {status} sends {sent - promised}, untold"
    for name, reference in told["headers"].items():
        if name.lower() in headers:
            known = strict_document()["components"]["headers"][reference["$ref"].split("/")[-1]]
            validate(known["schema"], headers[name.lower()])
    if status < 400 and operation.get("security"):
        assert {"ratelimit", "ratelimit-policy"} <= sent
    if status == HTTPStatus.FORBIDDEN:
        good = json.loads(body)["code"] == "insufficient_scope"
        assert {"ratelimit", "ratelimit-policy"} & sent == (
            {"ratelimit", "ratelimit-policy"} if good else set()
        )
    content = told.get("content")
    if content is None:
        assert body == b"", f"{method} {path} {status} has a body, untold"
        return
    media_type = headers["content-type"].partition(";")[0]
    assert media_type in content, f"{method} {path} {status} is {media_type}, untold"
    value = json.loads(body) if media_type.endswith("json") else body.decode()
    validate(content[media_type]["schema"], value)
