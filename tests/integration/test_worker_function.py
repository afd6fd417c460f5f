"""The functions `worker` and `sweep` in one process: events in, the shipped pack, real adapters."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import boto3
import pydicom
import pytest

import app
from chalicelib import aws, bootstrap, settings
from chalicelib.services.timing import Deadline, Stopwatch
from chalicelib.tenants import keys
from tests.integration.conftest import admit

if TYPE_CHECKING:
    from io import StringIO
    from pathlib import Path

    from mypy_boto3_dynamodb.service_resource import Table

    from tests.fakes.gateway import FakeGateway

PATIENT = "Zebranowski"
BIRTH = "19481213"


@pytest.fixture(scope="module")
def named(chest: bytes) -> bytes:
    """Return a radiograph whose header would be recognised anywhere."""
    dataset = pydicom.dcmread(io.BytesIO(chest))
    dataset.PatientName = f"{PATIENT}^Zofia"
    dataset.PatientID = f"{PATIENT}-4711"
    dataset.PatientBirthDate = BIRTH
    written = io.BytesIO()
    dataset.save_as(written)
    return written.getvalue()


def event() -> dict[str, Any]:
    """Return what Lambda hands over of the first queue."""
    url = settings.settings().queue_url
    sqs = boto3.client("sqs")
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return {
        "Records": [
            {
                "messageId": one.get("MessageId"),
                "receiptHandle": one.get("ReceiptHandle"),
                "body": one.get("Body"),
                "eventSourceARN": attributes["QueueArn"],
            }
            for one in found
        ]
    }


def post(gateway: FakeGateway, body: bytes) -> dict[str, Any]:
    answer = gateway.call("POST", "/studies", body=body)
    assert answer.status == 202, answer.body
    study: dict[str, Any] = answer.json()
    return study


def test_queued_and_posted_images_get_the_same_result_and_no_name_reaches_a_log(
    table: Table, named: bytes, log: StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway = admit(table)
    # Not by HTTP: on a busy machine the image would be queued as well.
    caller = bootstrap.directory().identify(keys.sha256(str(gateway.key)))
    assert caller is not None
    stopwatch, patience = Stopwatch(), Deadline(3600)
    waited = bootstrap.analysis().analyse(caller, named, stopwatch, patience)
    posted = json.loads(waited.model_dump_json())
    good = post(gateway, named)
    broken = post(gateway, named[: len(named) // 3])
    waiting = event()
    waiting["Records"].append(
        {"messageId": "odd", "receiptHandle": "x", "body": PATIENT, "eventSourceARN": "a:b"}
    )
    assert app.worker(waiting, None) == {"batchItemFailures": [{"itemIdentifier": "odd"}]}
    fields = ("version", "account", "region", "detail-type", "source", "time", "id")
    app.sweep({**dict.fromkeys(fields, ""), "detail": {}, "resources": []}, None)

    queued = gateway.get("/studies/{study_id}", study_id=good["id"]).json()
    assert queued["status"] == "succeeded"
    for field in ("label", "model", "image", "quality", "mode"):
        assert queued[field] == posted[field], field
    for one, other in zip(queued["findings"], posted["findings"], strict=True):
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)
    s3 = boto3.client("s3")
    bucket = settings.settings().bucket
    for study in (posted, queued):
        key = f"clients/acme/studies/{study['id']}/report.pdf"
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read(5) == b"%PDF-"
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix="uploads/")
    failed = gateway.get("/studies/{study_id}", study_id=broken["id"]).json()
    assert failed["status"] == "failed"
    assert failed["error"]["code"] == "unreadable_image"
    assert failed["error"]["request_id"] == "11111111-2222-4333-8444-555555555555"
    assert gateway.get("/account").json()["usage"]["used"] == 2

    captured = capfd.readouterr()
    everything = log.getvalue() + captured.out + captured.err
    assert PATIENT not in everything
    assert BIRTH not in everything
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    ends = {line["study_id"]: line for line in lines if line["message"] == "study"}
    assert (ends[good["id"]]["status"], ends[good["id"]]["code"]) == ("succeeded", "")
    assert (ends[broken["id"]]["status"], ends[broken["id"]]["code"]) == (
        "failed",
        "unreadable_image",
    )
    requests = {line.get("study_id") for line in lines if line["message"] == "request"}
    assert {good["id"], broken["id"]} <= requests
    for line in ends.values():
        assert line["client"] == "acme"
        assert line["request_id"] == "11111111-2222-4333-8444-555555555555"
    metrics = {
        metric["Name"]
        for text in captured.out.splitlines()
        if text.startswith('{"_aws"')
        for directive in json.loads(text)["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]
    }
    assert {
        "ColdStarts",
        "QueueAge",
        "BatchTime",
        "StudyAge",
        "StudiesEnded",
        "Swept",
        "OldestJob",
    } <= metrics


def test_what_failed_comes_again_soon_and_not_after_the_queue_s_long_time(
    table: Table, chest: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    settings.settings.cache_clear()
    study = post(admit(table), chest)
    handed = event()
    changed: list[dict[str, Any]] = []
    aws.sqs().meta.events.register(
        "provide-client-params.sqs.ChangeMessageVisibility",
        lambda params, **_: changed.append(dict(params)),
    )
    answer = app.worker(handed, None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": handed["Records"][0]["messageId"]}]}
    [call] = changed
    assert call["VisibilityTimeout"] == 15
    assert study["status"] == "queued"
