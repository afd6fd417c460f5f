"""What the smoke test makes of an API's answers."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import pytest
from PIL import Image

from admin_cli.console import CliError
from admin_cli.deploying.smoke import Caller, analyse, phantom

SECRET = "rgt" + "A" * 38
DONE = {
    "id": "st_1",
    "status": "succeeded",
    "label": "No finding",
    "model": {"name": "cardionet", "version": "1"},
}


def caller(*answers: tuple[int, dict[str, Any]] | Exception) -> tuple[Caller, list[httpx.Request]]:
    seen: list[httpx.Request] = []
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        told = left.pop(0)
        if isinstance(told, Exception):
            raise told
        return httpx.Response(told[0], json=told[1])

    transport = httpx.MockTransport(answer)
    return Caller("https://api.example", SECRET, transport, pause=lambda _seconds: None), seen


def test_a_new_key_and_a_cold_model_are_waited_for() -> None:
    unknown = (403, {"code": "missing_or_unknown_key"})
    cold = (503, {"code": "model_unavailable"})
    made, seen = caller(unknown, httpx.ReadTimeout(""), cold, (200, {"status": "ready"}))
    assert made.wait_for("/ready", 60) == {"status": "ready"}
    assert len(seen) == 4
    assert all(request.headers["x-api-key"] == SECRET for request in seen)


@pytest.mark.parametrize("code", ["key_revoked", "insufficient_scope", "internal"])
def test_what_will_not_come_by_waiting_is_told_at_once(code: str) -> None:
    made, seen = caller((403, {"code": code}))
    with pytest.raises(CliError, match=rf"GET /account answered 403 \({code}\)"):
        made.wait_for("/account", 60)
    assert len(seen) == 1


def test_waiting_has_an_end() -> None:
    made, _seen = caller((503, {"code": "model_unavailable"}))
    with pytest.raises(CliError, match="GET /ready answered 503"):
        made.wait_for("/ready", -1)


def test_an_answer_at_once_is_cleared_away() -> None:
    made, seen = caller((200, DONE), (204, {}))
    tested = analyse(made)
    assert (tested.study, tested.model) == ("st_1", "cardionet@1")
    assert [(one.method, one.url.path) for one in seen] == [
        ("POST", "/xray"),
        ("DELETE", "/studies/st_1"),
    ]


def test_a_queued_study_is_followed_to_its_end() -> None:
    made, _seen = caller(
        (202, {"id": "st_1", "status": "queued"}),
        (200, {"id": "st_1", "status": "running"}),
        (200, DONE),
        (204, {}),
    )
    assert analyse(made).label == "No finding"


@pytest.mark.parametrize(
    "answer",
    [
        (422, {"code": "unreadable_image"}),
        (200, {"id": "st_1", "status": "failed", "error": {"code": "unreadable_image"}}),
    ],
)
def test_no_result_is_a_failure_with_its_code(answer: tuple[int, dict[str, Any]]) -> None:
    made, _seen = caller(answer)
    with pytest.raises(CliError, match="unreadable_image"):
        analyse(made)


def test_no_failure_tells_the_key() -> None:
    made, _seen = caller(httpx.ConnectError(f"refused {SECRET}"))
    with pytest.raises(CliError) as caught:
        made.call("GET", "/account")
    assert SECRET not in caught.value.message
    assert caught.value.__cause__ is None


def test_an_answer_that_is_no_object_is_none() -> None:
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, content=json.dumps([1])))
    assert Caller("https://api.example", SECRET, transport).call("GET", "/x") == (200, {})


def test_the_drawn_chest_is_an_image_that_the_api_takes() -> None:
    with Image.open(io.BytesIO(phantom()), formats=["PNG"]) as image:
        assert image.mode == "L"
        assert min(image.size) >= 512
