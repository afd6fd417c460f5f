"""A service of AWS says nothing: a refusal comes before the gateway gives up."""

from __future__ import annotations

import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from chalicelib import bootstrap
from chalicelib.http.routing import KEY_SECONDS
from chalicelib.services.analysis import GATEWAY_SECONDS
from chalicelib.tenants import records
from tests.fresh import forget_everything
from tests.integration.conftest import admit, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from mypy_boto3_dynamodb.service_resource import Table

    from tests.fakes.gateway import Answer, FakeGateway


@contextmanager
def silent(monkeypatch: pytest.MonkeyPatch, service: str) -> Iterator[list[str]]:
    """Be a service of AWS that takes a call and says nothing; yield the calls that came."""
    came, over = list[str](), Event()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            came.append(self.command)
            over.wait(60)

        do_DELETE = do_POST = do_PUT  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Keep the test's output to itself."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", f"http://127.0.0.1:{server.server_port}")
    try:
        yield came
    finally:
        over.set()
        server.shutdown()
        server.server_close()


def ask(
    gateway: FakeGateway, method: str, route: str, left: float, **more: Any
) -> tuple[Answer, float]:
    """Ask when so many of the gateway's seconds are left; return how long it took."""
    began = int((bootstrap.now().timestamp() - GATEWAY_SECONDS + left) * 1000)
    start = time.monotonic()
    answer = gateway.call(method, route, context={"requestTimeEpoch": began}, **more)
    return answer, time.monotonic() - start


def test_a_storage_that_says_nothing_is_a_refusal_in_time(
    table: Table, chest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, left = admit(table), 8.0
    bootstrap.models().ready()  # loaded, so that a prediction is made
    with silent(monkeypatch, "S3") as came:
        answer, took = ask(gateway, "POST", "/xray", left, body=chest)
        refused(answer, 503, "storage_unavailable")
        assert took < left
        assert int(answer.headers["retry-after"]) > 0
        # Counted before the work: no time is left, and none needed, to say what is left of it.
        assert '"studies";r=' in answer.headers["ratelimit"]
        assert came
    assert gateway.get("/studies").json()["items"] == []
    assert gateway.get("/account").json()["usage"]["used"] == 0


def test_what_is_queued_and_erased_is_waited_for_no_longer_than_the_gateway_waits(
    table: Table, chest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, left = admit(table), 2.5
    study_id = gateway.call("POST", "/studies", body=chest).json()["id"]
    with silent(monkeypatch, "S3"):
        forget_everything()  # among it sessions with the endpoint of before
        answer, took = ask(gateway, "POST", "/studies", left, body=chest)
        refused(answer, 503, "storage_unavailable")
        assert took < left
        path = {"study_id": study_id}
        answer, took = ask(gateway, "DELETE", "/studies/{study_id}", left, path=path)
        refused(answer, 503, "storage_unavailable")
        assert took < left
    # The table was faster: its image goes when the sweeper comes.
    [study] = gateway.get("/studies").json()["items"]
    assert (study["id"], study["status"]) == (study_id, "deleted")
    assert "Item" in table.get_item(Key=records.job_key(study_id))


def test_a_table_that_says_nothing_of_the_key_is_a_refusal_in_time(
    table: Table, chest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, left = admit(table), KEY_SECONDS
    with silent(monkeypatch, "DYNAMODB") as came:
        answer, took = ask(gateway, "POST", "/xray", left, body=chest)
    refused(answer, 503, "storage_unavailable")
    assert took < left
    assert came
