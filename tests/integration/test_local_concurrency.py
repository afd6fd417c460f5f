"""Calls of one function at once on the local AWS: how many run, who waits, who is told off."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from admin_cli import emulator
from admin_cli.deploying.gateway_responses import apply_refusals
from admin_cli.local.concurrency import PLACES, Line, limit_time
from tests.integration.test_emulator import ROLE, client, document, imported, post

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from admin_cli.emulator import LocalAws

FUNCTION = """
import base64, json, os, time

def handler(event, context):
    order = json.loads(base64.b64decode(event.get("body") or "e30="))
    if order.get("do") == "die":
        os._exit(1)
    if order.get("do") == "raise":
        raise ValueError("not for callers")
    if order.get("do") == "call itself":
        import boto3
        inner = boto3.client("lambda", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
        time.sleep(1)
        inner.invoke(FunctionName=context.function_name, Payload=b"{}")["Payload"].read()
    time.sleep(0.1)
    return {"statusCode": 200, "body": str(os.getpid()), "headers": {}}
"""


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    home = tmp_path_factory.mktemp("emulator")
    try:
        yield emulator.start(home)
    finally:
        emulator.stop(home)


@pytest.fixture(scope="module")
def api_id(aws: LocalAws) -> str:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("toy.py", FUNCTION)
    made = client(aws, "lambda").create_function(
        FunctionName="toy",
        Runtime="python3.11",
        Role=ROLE,
        Handler="toy.handler",
        Timeout=60,
        Code={"ZipFile": archive.getvalue()},
    )
    gateway = client(aws, "apigateway")
    found = imported(gateway, document(made["FunctionArn"], "/toy"))
    apply_refusals(gateway, found, "v1")
    return found


def at_once(aws: LocalAws, api_id: str, calls: int, do: str) -> list[httpx.Response]:
    with ThreadPoolExecutor(calls) as pool:
        sent = [
            pool.submit(post, aws, api_id, "/toy", content=json.dumps({"do": do}))
            for _ in range(calls)
        ]
        return [one.result() for one in sent]


def test_more_calls_than_places_wait_for_the_same_few_processes(aws: LocalAws, api_id: str) -> None:
    answers = at_once(aws, api_id, 4 * PLACES, "answer")
    assert {one.status_code for one in answers} == {200}
    assert len({one.text for one in answers}) <= PLACES


def test_functions_that_call_themselves_do_not_wait_for_their_own_places(
    aws: LocalAws, api_id: str
) -> None:
    answers = at_once(aws, api_id, PLACES, "call itself")
    assert {one.status_code for one in answers} == {200}


@pytest.mark.parametrize("do", ["die", "raise"])
def test_a_function_that_fails_is_a_problem_document_and_gives_its_place_back(
    aws: LocalAws, api_id: str, do: str
) -> None:
    for failed in at_once(aws, api_id, PLACES + 1, do):
        assert failed.status_code == 503
        assert failed.headers["content-type"] == "application/problem+json"
        assert failed.headers["retry-after"] == "15"
        assert failed.json()["code"] == "model_unavailable"
        assert "not for callers" not in failed.text
    assert post(aws, api_id, "/toy", content="{}").status_code == 200


def test_a_call_past_the_time_limit_is_a_time_out_and_runs_on() -> None:
    ended: list[bool] = []

    async def slow() -> None:
        await asyncio.sleep(0.2)
        ended.append(True)

    def error(kind: str, _message: str) -> str:
        return kind

    gateway: Any = SimpleNamespace(
        _invoke_lambda_proxy_v1=slow, _lambda_proxy_response=None, _gw_error=error
    )
    limit_time(gateway, seconds=0.05)

    async def call() -> str:
        answer: str = await gateway._invoke_lambda_proxy_v1()  # noqa: SLF001 - of MiniStack
        assert not ended
        await asyncio.sleep(0.4)
        return answer

    assert asyncio.run(call()) == "INTEGRATION_TIMEOUT"
    assert ended


def test_a_place_goes_to_who_waits_longest_and_past_who_gave_up() -> None:
    line = Line(1)
    assert line.enter(None)
    assert not line.enter(time.monotonic() + 0.01)  # gives up, and is no longer in line
    served: list[int] = []

    def wait(number: int) -> None:
        assert line.enter(time.monotonic() + 10)
        served.append(number)
        line.leave()

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(5)]
    for place, thread in enumerate(threads, 1):
        thread.start()
        while len(line._waiting) < place:  # noqa: SLF001 - no other sign of it
            time.sleep(0.001)
    line.leave()
    for thread in threads:
        thread.join(10)
    assert served == [0, 1, 2, 3, 4]
    assert line.enter(time.monotonic())
