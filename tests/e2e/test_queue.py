"""Queued studies on the whole stack: SQS wakes the worker, failures end as dead letters."""

from __future__ import annotations

import io
import json
import os
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest
from PIL import Image

from admin_cli.emulator import LOCAL_CREDENTIALS
from chalicelib.tenants import records
from tests.e2e.scheduled import SCHEDULED
from tests.e2e.test_http import sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.conftest import Stack

WITHIN = 240.0  # seconds; a cold worker on a busy machine takes most of a minute
WORKER = "radgate-local-worker"
TRIES = 5  # to find a worker at work


def small_chest() -> bytes:
    """Return a real radiograph as a small PNG."""
    from chalicelib.inference.imaging import ImageDecoder  # noqa: PLC0415 - torch, only here

    radiograph = ImageDecoder().decode(sample("RG1_J2KI.dcm"))
    size = (radiograph.info.width, radiograph.info.height)
    deep = Image.frombytes("I;16", size, radiograph.pixels)
    shallow = deep.point(lambda value: value / 257).convert("L").resize((460, 489))
    written = io.BytesIO()
    shallow.save(written, "PNG")
    return written.getvalue()


@pytest.fixture(scope="module")
def chest() -> bytes:
    return small_chest()


@pytest.fixture
def aws(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    for name, value in LOCAL_CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return lambda service: boto3.client(service, endpoint_url=stack.aws_url)  # type: ignore[call-overload]


class Api:
    def __init__(self, stack: Stack, key: str = "") -> None:
        self._url, self._headers = stack.api_url, {"x-api-key": key or stack.api_key}

    def queue(self, image: bytes) -> str:
        answer = httpx.post(
            f"{self._url}/studies", content=image, headers=self._headers, timeout=120
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def study(self, study_id: str) -> dict[str, Any]:
        answer = httpx.get(f"{self._url}/studies/{study_id}", headers=self._headers, timeout=120)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def used(self) -> int:
        answer = httpx.get(f"{self._url}/account", headers=self._headers, timeout=120)
        return int(answer.json()["usage"]["used"])

    def ended(self, study_id: str) -> dict[str, Any]:
        study: dict[str, Any] = until(
            lambda: self.study(study_id),
            lambda study: study["status"] in {"succeeded", "failed"},
        )
        return study


def until(look: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    """Return what `look` finds once it is good."""
    end = time.monotonic() + WITHIN
    while time.monotonic() < end:
        found = look()
        if good(found):
            return found
        time.sleep(1)
    pytest.fail(f"after {WITHIN:.0f} s it is still {found}")


def test_a_queued_study_gets_its_result(stack: Stack, chest: bytes) -> None:
    api = Api(stack)
    before = api.used()
    study = api.ended(api.queue(chest))
    assert study["status"] == "succeeded", study["error"]
    pdf = httpx.get(study["report"]["url"], timeout=60)
    assert pdf.content.startswith(b"%PDF-")
    assert api.used() == before + 1


def test_an_image_that_cannot_be_read_fails_and_costs_nothing(stack: Stack, chest: bytes) -> None:
    api = Api(stack)
    before = api.used()
    study = api.ended(api.queue(chest[: len(chest) // 2]))
    assert study["status"] == "failed"
    assert study["error"]["code"] == "unreadable_image"
    assert api.used() == before


@pytest.fixture
def without_models(
    stack: Stack, aws: Callable[[str], Any], tmp_path: Path
) -> Iterator[Callable[[], None]]:
    """The worker finds no model until the yielded function is called, or the test is over.

    It tries again after 1 and 4 seconds instead of 15 and 60.
    """
    del stack
    functions = aws("lambda")
    found = functions.get_function_configuration(FunctionName=WORKER)["Environment"]["Variables"]

    def have(**changed: str) -> None:
        functions.update_function_configuration(
            FunctionName=WORKER, Environment={"Variables": {**found, **changed}}
        )
        functions.get_waiter("function_updated_v2").wait(FunctionName=WORKER)

    have(MODEL_DIR=str(tmp_path), RADGATE_RETRY_SECONDS="1")
    try:
        yield have
    finally:
        have()


def test_what_fails_through_our_fault_is_refunded_listed_and_redriven(
    stack: Stack, chest: bytes, without_models: Callable[[], None]
) -> None:
    api, radgate = Api(stack), stack.radgate
    before = api.used()
    study_id = api.queue(chest)
    study = api.ended(study_id)
    assert study["status"] == "failed"
    assert study["error"]["code"] == "model_unavailable"
    assert api.used() == before
    [letter] = until(
        lambda: [one for one in radgate.json("studies", "dlq", "list") if one["study"] == study_id],
        bool,
    )
    assert (letter["client"], letter["attempts"]) == (stack.client_id, 3)
    assert letter["why"] == "model_unavailable"
    without_models()
    [done] = radgate.json("studies", "dlq", "redrive", study_id)
    assert api.ended(done["queued"])["status"] == "succeeded"
    assert api.study(study_id)["status"] == "failed"
    assert api.used() == before + 1
    letters = radgate.json("studies", "dlq", "list")
    assert study_id not in {one["study"] for one in letters}


def test_a_message_of_nobody_s_becomes_a_dead_letter(
    stack: Stack, aws: Callable[[str], Any]
) -> None:
    sqs = aws("sqs")
    url = sqs.get_queue_url(QueueName="radgate-local-jobs")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"odd": True}))
    found = until(
        lambda: [
            one
            for one in stack.radgate.json("studies", "dlq", "list")
            if one["why"] == "the message cannot be read"
        ],
        bool,
    )
    done = stack.radgate.json("studies", "dlq", "redrive", "--all")
    assert {one["told"] for one in done} >= {"the message cannot be read"}
    assert len(found) == 1


def worker_processes(stack: Stack) -> set[int]:
    """Return the processes in which the emulator of this stack runs the worker."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_text()
        except OSError:
            continue
        if parent == stack.pid and WORKER in command:
            found.add(int(entry.name))
    return found


def let_time_pass(aws: Callable[[str], Any], study_id: str) -> None:
    """Set what a job waits for, its lease or the sweeper, back by an hour."""
    past, job = datetime.now(UTC) - timedelta(hours=1), item(aws, records.job_key(study_id))
    # As the records have them; one that is not there is not made.
    times = {"leased_until": records.moment(past), "rung_at": past.isoformat()}
    waits = {name: text for name, text in times.items() if name in job}
    table = aws("dynamodb")
    if waits:
        with suppress(table.exceptions.ConditionalCheckFailedException):  # it has ended already
            table.update_item(
                TableName="radgate-local",
                Key={name: job[name] for name in ("pk", "sk")},
                UpdateExpression="SET " + ", ".join(f"{name} = :{name}" for name in waits),
                ConditionExpression="attribute_exists(pk)",
                ExpressionAttributeValues={f":{name}": {"S": text} for name, text in waits.items()},
            )


def sweep(aws: Callable[[str], Any]) -> None:
    """Have the deployed sweeper come now."""
    swept = aws("lambda").invoke(FunctionName="radgate-local-sweep", Payload=json.dumps(SCHEDULED))
    assert "FunctionError" not in swept


def item(aws: Callable[[str], Any], key: dict[str, Any]) -> dict[str, Any]:
    """Return a record of the table as DynamoDB writes it, empty for none."""
    wanted = {name: {"S": value} for name, value in key.items()}
    found = aws("dynamodb").get_item(TableName="radgate-local", Key=wanted, ConsistentRead=True)
    return dict(found.get("Item", {}))


def killed_at_work(
    stack: Stack, api: Api, aws: Callable[[str], Any], image: bytes, pause: float
) -> str:
    """Queue an image and end its worker `pause` seconds after it has begun; return the study.

    Only a worker that still holds the lease was at work. A faster one is no failure: then another
    image is queued, and the pause is half as long.
    """
    for _ in range(TRIES):
        study_id = api.queue(image)
        end = time.monotonic() + WITHIN
        # No job at all: the worker was done between two looks.
        while (job := item(aws, records.job_key(study_id))) and "lease" not in job:
            assert time.monotonic() < end, "no worker has begun"
            time.sleep(0.02)
        time.sleep(pause)
        processes = worker_processes(stack)
        for process in processes:
            os.kill(process, signal.SIGKILL)
        time.sleep(1)  # for what the process had sent before it died
        job = item(aws, records.job_key(study_id))
        if processes and "lease" in job:
            assert job["attempt"]["N"] == "1"
            return study_id
        assert api.ended(study_id)["status"] == "succeeded"
        pause /= 2
    pytest.fail("each worker was done before it could be killed")


def test_a_worker_that_is_killed_loses_and_doubles_nothing(
    stack: Stack, chest: bytes, aws: Callable[[str], Any]
) -> None:
    """The deployed function's process ends by SIGKILL; its lease runs out, and the sweeper rings.

    `test_kills.py` kills a worker at each of its writes.
    """
    api = Api(stack)
    study_id = killed_at_work(stack, api, aws, chest, pause=0.4)
    used = api.used()
    let_time_pass(aws, study_id)  # instead of waiting until it is over and the minute too
    sweep(aws)
    study = api.ended(study_id)
    assert study["status"] == "succeeded", study
    assert api.used() == used  # it was metered when it was queued, and not again
    row = item(aws, records.study_key(stack.client_id, study_id))
    assert int(row["attempts"]["N"]) >= 2
    s3 = aws("s3")
    [bucket] = [
        one["Name"]
        for one in s3.list_buckets()["Buckets"]
        if one["Name"].startswith("radgate-local-")
    ]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"uploads/{stack.client_id}/{study_id}")
    documents = s3.list_objects_v2(
        Bucket=bucket, Prefix=f"clients/{stack.client_id}/studies/{study_id}/"
    )
    names = [one["Key"].removeprefix(documents["Prefix"]) for one in documents["Contents"]]
    assert names.count("report.pdf") == 1
    # Killed before it had a result: whoever ended it erased the bytes as well.
    assert "Contents" not in listed
