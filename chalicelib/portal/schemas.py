"""Reads schemas of the OpenAPI document as people read them: a field, its type, what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]


class Field(NamedTuple):
    """A field of an answer; those within it have its name and a dot before their own."""

    name: str
    kind: str
    text: str


def answer_fields(document: Json, operation: Json) -> list[Field]:
    """Return every field of an operation's first answer that is one of our models."""
    for answer in operation["responses"].values():
        for media in answer.get("content", {}).values():
            if "$ref" in media.get("schema", {}):
                return list(_fields(document, media["schema"], ""))
    return []


def _fields(document: Json, schema: Json, before: str) -> Iterator[Field]:
    model = _resolved(document, schema)
    for name, part in model.get("properties", {}).items():
        inner, many, optional = _core(part)
        whole = before + name + ("[]" if many else "")
        resolved = _resolved(document, inner)
        kind = _kind(resolved) + (" or null" if optional else "")
        yield Field(whole, kind, part.get("description", ""))
        if resolved.get("title") != "Problem":
            yield from _fields(document, inner, f"{whole}.")


def _core(schema: Json) -> tuple[Json, bool, bool]:
    """Return what a schema is about, whether there are many of it, whether it may be null."""
    options = schema.get("anyOf", [schema])
    real = [one for one in options if one.get("type") != "null"]
    optional = len(real) < len(options)
    core = real[0]
    if core.get("type") == "array":
        return core["items"], True, optional
    return core, False, optional


def _kind(schema: Json) -> str:
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if schema.get("format") == "date-time":
        return "time"
    if schema.get("title") == "Problem":
        return "problem"
    return str(schema.get("type", "any"))


def _resolved(document: Json, schema: Json) -> Json:
    if "$ref" not in schema:
        return schema
    found: Json = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found
