"""Probing the API until it refuses a key."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from admin_cli.console import CliError
from admin_cli.tenants.probe import is_refused, seconds_until_refused
from chalicelib.tenants import keys
from tests.fakes.clock import FixedClock

if TYPE_CHECKING:
    from collections.abc import Iterator


def measure(answers: list[bool], limit: float = 90) -> float:
    """Return the seconds that were measured for these answers, at two a second."""
    clock = FixedClock()
    given = iter(answers)
    return seconds_until_refused(lambda: next(given), limit, clock.monotonic, clock.advance)


def test_the_first_of_three_refusals_in_a_row_counts() -> None:
    assert measure([True, True, True]) == 0
    assert measure([False, False, True, True, True]) == pytest.approx(1.0)


def test_a_refusal_that_did_not_last_does_not_count() -> None:
    assert measure([True, True, False, True, True, True]) == pytest.approx(1.5)


def test_a_key_that_goes_on_working_is_an_error() -> None:
    with pytest.raises(CliError, match="still works after 3 s"):
        measure([False] * 100, limit=3)


@contextmanager
def api(status: int, body: str) -> Iterator[str]:
    """Serve one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "refused"),
    [
        (200, None, False),
        (403, "key_revoked", True),
        (403, "missing_or_unknown_key", True),
        (403, "insufficient_scope", False),  # the key itself was let in
        (429, "throttled", False),
    ],
)
def test_only_a_refusal_of_the_key_is_a_refusal(
    status: int, code: str | None, *, refused: bool
) -> None:
    with api(status, json.dumps({"code": code})) as url:
        assert is_refused(url, keys.mint()) is refused


@pytest.mark.parametrize(("status", "body"), [(503, "{}"), (403, "no json"), (404, "[]")])
def test_what_is_no_answer_is_an_error_without_the_key(status: int, body: str) -> None:
    secret = keys.mint()
    with api(status, body) as url, pytest.raises(CliError) as raised:
        is_refused(url, secret)
    assert secret not in repr(raised.value)


def test_an_api_that_is_not_there_is_an_error_without_the_key() -> None:
    secret = keys.mint()
    with pytest.raises(CliError, match="does not answer") as raised:
        is_refused("http://127.0.0.1:9", secret)
    assert secret not in repr(raised.value)
