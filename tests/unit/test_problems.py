"""Every error of the tree has a status, and its body the shape of RFC 9457."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from chalicelib import errors
from chalicelib.problems import STATUS, defect_problem, problem_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def leaves(kind: type[errors.RadgateError]) -> Iterator[type[errors.RadgateError]]:
    children = kind.__subclasses__()
    if not children:
        yield kind
    for child in children:
        yield from leaves(child)


LEAVES = list(leaves(errors.RadgateError))


def make(kind: type[errors.RadgateError]) -> errors.RadgateError:
    if kind is errors.QuotaExceeded:
        return errors.QuotaExceeded("why", retry_after=7)
    return kind("why")


def test_every_error_has_a_status_and_no_status_is_left_over() -> None:
    assert set(STATUS) == set(LEAVES)


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in LEAVES]
    assert len(set(codes)) == len(codes)


def test_every_error_stands_in_the_tree_of_the_docstring() -> None:
    assert errors.__doc__ is not None
    missing = [kind.__name__ for kind in LEAVES if kind.__name__ not in errors.__doc__]
    assert missing == []


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.code)
def test_the_body_has_the_contracts_fields(kind: type[errors.RadgateError]) -> None:
    problem = problem_of(make(kind))
    body = json.loads(problem.body("req-1"))
    own = {"reasons"} if kind is errors.NotAChestXray else set()
    assert set(body) == {"type", "title", "status", "detail", "code", "request_id"} | own
    assert body["code"] == kind.code
    assert body["status"] == STATUS[kind]
    assert body["detail"] == "why"
    assert body["request_id"] == "req-1"


def test_a_refusal_by_the_gate_has_its_reasons_for_programs() -> None:
    error = errors.NotAChestXray("why", ("not_a_chest", "blank"))
    assert json.loads(problem_of(error).body("req-1"))["reasons"] == ["not_a_chest", "blank"]


def test_refusals_that_pass_tell_when_to_come_back() -> None:
    waits = {kind for kind in LEAVES if problem_of(make(kind)).retry_after is not None}
    assert waits == {kind for kind in LEAVES if STATUS[kind] in {429, 503}}


def test_a_defect_tells_nothing_but_an_id() -> None:
    body = json.loads(defect_problem().body("req-2"))
    assert body["status"] == 500
    assert body["request_id"] == "req-2"
