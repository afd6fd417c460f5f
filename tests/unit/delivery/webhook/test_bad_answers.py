"""Answers that are too long, too slow, or none."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from chalicelib.domain import Outcome
from tests.unit.delivery.webhook.conftest import DELIVERED, Internet

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler


def test_a_huge_answer_is_not_read_to_its_end(internet: Internet) -> None:
    sent = 0

    def flood(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(5000):  # 320 MB
                handler.wfile.write(bytes(64_000))
                sent += 64_000
        except OSError:
            pass

    internet.server.answer = flood
    assert internet.tell() == DELIVERED
    assert sent < 30_000_000  # what the buffers of two sockets take


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\nX-Long: "])
def test_an_answer_that_drips_is_cut_off(internet: Internet, begin: bytes) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        try:
            handler.wfile.write(begin)
            for _ in range(600):
                handler.wfile.write(b"x")
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass

    internet.server.answer = drip
    begun = time.monotonic()
    outcome = internet.tell(answer_seconds=1.0)
    assert time.monotonic() - begun < 15
    assert outcome == Outcome(verdict="later", reason="The server did not answer in time.")


def test_a_server_that_says_nothing_is_left(internet: Internet) -> None:
    internet.server.answer = lambda _handler: time.sleep(3)
    outcome = internet.tell(answer_seconds=0.5)
    assert outcome == Outcome(verdict="later", reason="The server did not answer in time.")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "The server's answer is not HTTP."),
        (b"", "The connection to the server failed."),
    ],
)
def test_an_answer_that_is_none_is_tried_again(
    internet: Internet, answer: bytes, reason: str
) -> None:
    def say(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(answer)

    internet.server.answer = say
    assert internet.tell() == Outcome(verdict="later", reason=reason)


def test_no_reason_repeats_what_the_server_said(internet: Internet) -> None:
    def say(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(500, "patient-name")
        handler.send_header("X-Note", "patient-name")
        handler.end_headers()
        handler.wfile.write(b"patient-name")

    internet.server.answer = say
    assert "patient" not in internet.tell().reason
