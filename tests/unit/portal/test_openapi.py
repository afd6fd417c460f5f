"""The OpenAPI document is valid, whole, and made of what the service really has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from app import app
from chalicelib import errors
from chalicelib.portal.advice import ADVICE, advice, codes
from chalicelib.portal.openapi import document
from chalicelib.portal.operations import OPERATIONS, PAGES
from chalicelib.problems import STATUS, problem_of
from tests.conformance import strict_document, validate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chalicelib.portal.operations import Operation

DOCUMENT = document()


def test_it_is_valid_openapi_3_1() -> None:
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


def test_it_has_the_routes_of_the_app_and_no_others() -> None:
    real = {(path, method) for path, methods in app.routes.items() for method in methods}
    told = {(path, method.upper()) for path, item in DOCUMENT["paths"].items() for method in item}
    assert told == real


def test_it_asks_for_a_key_where_the_gateway_does() -> None:
    for path, methods in app.routes.items():
        for method, entry in methods.items():
            told = DOCUMENT["paths"][path][method.lower()]
            assert bool(told.get("security")) == bool(entry.api_key_required), (method, path)


def test_names_of_operations_are_unique() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)


def test_every_error_of_the_tree_has_advice_and_some_route() -> None:
    assert set(ADVICE) == set(STATUS)
    told = {kind for operation in OPERATIONS for kind in operation.refusals}
    assert told == set(STATUS)
    assert advice().keys() == codes().keys() == DOCUMENT["components"]["examples"].keys()


def test_waiting_is_told_of_with_every_error_that_passes() -> None:
    for kind, status in STATUS.items():
        error = errors.QuotaExceeded("x", 1) if kind is errors.QuotaExceeded else kind("x")
        told = DOCUMENT["paths"]["/studies"]["post"]["responses"].get(str(status), {"headers": {}})
        if problem_of(error).retry_after is not None:
            assert "Retry-After" in told["headers"]
        else:
            assert "Retry-After" not in told["headers"]


def _examples(operation: Operation) -> Iterator[tuple[dict[str, Any], object]]:
    told = DOCUMENT["paths"][operation.path][operation.method.lower()]
    contents = [told.get("requestBody", {}), *told["responses"].values()]
    for content in contents:
        for media in content.get("content", {}).values():
            if "example" in media:
                yield media["schema"], media["example"]
            for reference in media.get("examples", {}).values():
                name = reference["$ref"].split("/")[-1]
                yield media["schema"], DOCUMENT["components"]["examples"][name]["value"]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: f"{one.method} {one.path}")
def test_examples_are_what_their_schemas_say(operation: Operation) -> None:
    found = list(_examples(operation))
    assert len(found) >= 3  # at least the errors that may happen anywhere
    for schema, example in found:
        validate(schema, example)


def test_the_test_s_own_document_is_stricter_and_nothing_else() -> None:
    strict = strict_document()
    assert strict["paths"] == DOCUMENT["paths"]
    study = strict["components"]["schemas"]["Study"]
    assert study["additionalProperties"] is False
    assert "additionalProperties" not in DOCUMENT["components"]["schemas"]["Study"]
    assert set(study["required"]) == set(study["properties"])


def test_a_request_may_have_no_field_that_we_do_not_know() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for name in ("UploadRequest", "UploadReference"):
        assert schemas[name]["additionalProperties"] is False


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: f"{one.method} {one.path}")
def test_python_samples_are_python(operation: Operation) -> None:
    told = DOCUMENT["paths"][operation.path][operation.method.lower()]
    shell, python = (sample["source"] for sample in told["x-codeSamples"])
    compile(python, operation.name, "exec")
    for text in (shell, python):
        assert ("x-api-key" in text) == (operation.scope is not None)


def test_pages_stand_outside_the_key() -> None:
    assert {page.path for page in PAGES} == {"/", "/docs", "/openapi.json"}
    assert all(page.scope is None for page in PAGES)


def test_it_is_the_same_each_time() -> None:
    # Else an ETag would change with every process.
    assert json.dumps(document()) == json.dumps(DOCUMENT)
