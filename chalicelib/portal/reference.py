"""Draws the OpenAPI document as one page for people; it needs no script."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from chalicelib.portal.markup import Part, add, make, prose
from chalicelib.portal.markup import html as written
from chalicelib.portal.schemas import answer_fields

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

Json = dict[str, Any]
# HEAD is what GET is without its body.
_SHOWN = ("get", "post", "delete")


def html(document: Json) -> str:
    """Return the page; its stylesheet is put in by whoever serves it."""
    info = document["info"]
    operations = list(_operations(document))
    contents = make("nav", make("p", "Routes", class_="above"), aria_label="Contents")
    routes = make("ul")
    for name, method, path, _ in operations:
        badge = make("span", method.upper(), class_=f"method {method}")
        routes.append(make("li", make("a", badge, " ", make("code", path), href=f"#{name}")))
    parts = ((anchor, title) for anchor, title, _ in _CHAPTERS)
    others = make("ul", *(make("li", make("a", title, href=f"#{a}")) for a, title in parts))
    add(contents, routes, make("p", "And", class_="above"), others)
    body = make(
        "main",
        make("h1", f"{info['title']} API"),
        make("p", *prose(info["description"]), class_="lead"),
        make(
            "p",
            "The same for programs: ",
            make("a", "openapi.json", href="openapi.json"),
            ". In a browser without programs: ",
            make("a", "the portal", href="."),
            ".",
        ),
    )
    for operation in operations:
        body.append(_section(document, *operation))
    for anchor, title, draw in _CHAPTERS:
        body.append(make("section", make("h2", title), *draw(document), id=anchor))
    return written(
        make(
            "html",
            make(
                "head",
                make("meta", charset="utf-8"),
                make("meta", name="viewport", content="width=device-width, initial-scale=1"),
                make("meta", name="color-scheme", content="light dark"),
                make("title", f"{info['title']} API"),
                make("link", rel="stylesheet", href="reference.css"),
            ),
            make("body", make("header", contents), body),
            lang="en",
        )
    )


def _operations(document: Json) -> Iterator[tuple[str, str, str, Json]]:
    for path, item in document["paths"].items():
        for method in _SHOWN:
            if method in item:
                yield item[method]["operationId"], method, path, item[method]


def _section(document: Json, name: str, method: str, path: str, operation: Json) -> Element:
    scopes = [scope for one in operation.get("security", []) for scope in one["key"]]
    needs = prose(f"Scope `{scopes[0]}`") if scopes else ["No key"]
    text = make(
        "div",
        make("p", *prose(operation["description"])),
        _parameters(operation["parameters"]),
        _body(operation),
        *_answers(document, operation),
        class_="text",
    )
    samples = make("div", class_="samples")
    for sample in operation["x-codeSamples"]:
        add(samples, make("p", sample["label"], class_="above"), _code(sample["source"]))
    if example := _example(operation):
        add(samples, make("p", "Answer", class_="above"), _code(example))
    return make(
        "section",
        make("h2", operation["summary"]),
        make(
            "p",
            make("span", method.upper(), class_=f"method {method}"),
            " ",
            make("code", path),
            make("span", *needs, class_="needs"),
            class_="route",
        ),
        make("div", text, samples, class_="columns"),
        id=name,
    )


def _parameters(parameters: list[Json]) -> Part:
    if not parameters:
        return None
    rows = [
        make(
            "tr",
            make("th", make("code", one["name"]), scope="row"),
            make("td", one["in"]),
            make("td", *prose(one["description"]), " ", make("span", _limits(one), class_="help")),
        )
        for one in parameters
    ]
    return _table("Parameters", ("Name", "In", "What"), rows)


def _limits(parameter: Json) -> str:
    schema = parameter["schema"]
    words = []
    if "enum" in schema or "const" in schema:
        words.append("One of " + ", ".join(schema.get("enum") or [schema["const"]]) + ".")
    if "minimum" in schema and "maximum" in schema:
        words.append(f"From {schema['minimum']} to {schema['maximum']}.")
    if "default" in schema:
        words.append(f"{schema['default']} when left out.")
    return " ".join(words)


def _body(operation: Json) -> Part:
    content = operation.get("requestBody", {}).get("content", {})
    if not content:
        return None
    kinds = ", ".join(f"`{kind}`" for kind in content)
    part = make("div", make("h3", "Body"), make("p", *prose(kinds)))
    if "application/json" in content:
        part.append(_code(_pretty(content["application/json"]["example"])))
    return part


def _answers(document: Json, operation: Json) -> Iterator[Part]:
    yield make("h3", "Answers")
    rows = []
    for status, answer in operation["responses"].items():
        problem = answer.get("content", {}).get("application/problem+json")
        if problem is None:
            headers = [name for name in answer["headers"] if name != "X-Request-Id"]
            sent = (
                prose("Headers: " + ", ".join(f"`{name}`" for name in headers)) if headers else []
            )
            what = make(
                "td", *prose(answer["description"]), " ", make("span", *sent, class_="help")
            )
        else:
            codes = [make("a", make("code", code), href=f"#{code}") for code in problem["examples"]]
            spaced = [part for code in codes for part in (code, " ")]
            what = make("td", *spaced)
        rows.append(make("tr", make("th", status, scope="row"), what))
    yield _table("", ("Status", "What"), rows)
    if fields := answer_fields(document, operation):
        rows = [
            make(
                "tr",
                make("th", make("code", field.name), scope="row"),
                make("td", field.kind),
                make("td", *prose(field.text)),
            )
            for field in fields
        ]
        yield make(
            "details",
            make("summary", "Fields of the answer"),
            _table("", ("Field", "Type", "What"), rows),
        )


def _example(operation: Json) -> str | None:
    for answer in operation["responses"].values():
        for media in answer.get("content", {}).values():
            if "example" in media:
                return _pretty(media["example"])
    return None


def _errors(document: Json) -> Iterator[Part]:
    yield make(
        "p",
        *prose(
            "Every error is `application/problem+json` (RFC 9457), API Gateway's own refusals too."
            " Program against `code`; `detail` is for people and may change. No error costs a unit."
        ),
    )
    rows = []
    for code, example in document["components"]["examples"].items():
        status = example["value"]["status"]
        rows.append(
            make(
                "tr",
                make("td", str(status)),
                make("th", make("code", code), scope="row", id=code),
                make("td", *prose(example["description"])),
            )
        )
    yield _table("", ("Status", "Code", "What it means, what to do"), rows)
    yield _code(_pretty(next(iter(document["components"]["examples"].values()))["value"]))


def _headers(document: Json) -> Iterator[Part]:
    rows = [
        make(
            "tr",
            make("th", make("code", name), scope="row"),
            make("td", *prose(header["description"])),
        )
        for name, header in document["components"]["headers"].items()
    ]
    yield _table("", ("Header", "Holds"), rows)


def _key(document: Json) -> Iterator[Part]:
    text = document["components"]["securitySchemes"]["key"]["description"]
    yield make("p", *prose(f"Send it in the header `x-api-key`. {text}"))
    yield make(
        "p", "Never send it to the storage that a link leads to: the link is the permission."
    )


_CHAPTERS = (
    ("key", "The key", _key),
    ("headers", "Headers of answers", _headers),
    ("errors", "Errors", _errors),
)


def _table(title: str, columns: tuple[str, ...], rows: list[Element]) -> Element:
    head = make("tr", *(make("th", column, scope="col") for column in columns))
    table = make("table", make("thead", head), make("tbody", *rows))
    wide = make("div", table, class_="wide")
    return make("div", make("h3", title), wide) if title else wide


def _code(text: str) -> Element:
    # Code may be wider than its box: who uses the keyboard must be able to scroll it.
    return make("pre", make("code", text), tabindex="0")


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
