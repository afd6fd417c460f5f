"""Studies and uploads as a client sends them, and what lies in the stage then."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from pydicom.data import get_testdata_file

from chalicelib import settings
from chalicelib.domain import LAST_BYTES, UPLOAD_LINK, Message

if TYPE_CHECKING:
    from tests.fakes.gateway import Answer, FakeGateway

FORM_IS_OVER = UPLOAD_LINK + LAST_BYTES + timedelta(seconds=1)
KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}


@pytest.fixture(scope="module")
def large_chest() -> bytes:
    """Return a real chest PA as uncompressed DICOM: 7.2 MB, too large for the gateway."""
    path = get_testdata_file("RG1_UNCI.dcm", download=False)
    assert isinstance(path, str)
    return Path(path).read_bytes()


def post_study(gateway: FakeGateway, body: bytes, **headers: str) -> Answer:
    return gateway.call("POST", "/studies", body=body, headers=headers)


def queue_upload(gateway: FakeGateway, upload_id: str, **headers: str) -> Answer:
    return post_study(gateway, json.dumps({"upload_id": upload_id}).encode(), **headers)


def open_upload(gateway: FakeGateway, size: int) -> Any:
    asked = json.dumps({"size": size, "content_type": "application/dicom"}).encode()
    answer = gateway.call("POST", "/uploads", body=asked)
    assert answer.status == 201
    return answer.json()


def send(form: dict[str, Any], body: bytes) -> None:
    answer = requests.post(form["url"], data=form["fields"], files={"file": body}, timeout=5)
    assert answer.ok


def messages(url: str) -> list[Message]:
    received = boto3.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [Message.model_validate_json(one["Body"]) for one in received.get("Messages", [])]


def objects() -> list[str]:
    listed = boto3.client("s3").list_objects_v2(Bucket=settings.settings().bucket)
    return [one["Key"] for one in listed.get("Contents", [])]


def used(gateway: FakeGateway) -> int:
    return int(gateway.get("/account").json()["usage"]["used"])
