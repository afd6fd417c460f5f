"""What tests of the whole app share: its foundation on moto, a client with a key, its log."""

from __future__ import annotations

import sys
from io import StringIO
from logging import StreamHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws
from pydicom.data import get_testdata_file

from app import app
from chalicelib import http
from chalicelib.tenants import keys, records
from tests.fakes.gateway import Answer, FakeGateway
from tests.fakes.values import a_client, a_key
from tests.fresh import forget_everything

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.domain import ApiKey, Client

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def chest() -> bytes:
    """Return a real chest PA as JPEG 2000 DICOM."""
    path = get_testdata_file("RG1_J2KI.dcm", download=False)
    assert isinstance(path, str)
    return Path(path).read_bytes()


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An AWS account with nothing in it, in eu-central-1."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        yield


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> boto3.session.Session:
    """The session that clients come from, for a test that listens to their calls."""
    own = boto3.session.Session()
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", own)
    return own


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    """Make the foundation on moto from its own template and point the app at it."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "RADGATE_STAGE": "test",
        "MODEL_DIR": str(ROOT / "models"),
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        stack = boto3.client("cloudformation")
        stack.create_stack(
            StackName="radgate-test",
            TemplateBody=(ROOT / ".chalice/foundation.yaml").read_text(encoding="utf-8"),
            Parameters=[{"ParameterKey": "Stage", "ParameterValue": "test"}],
        )
        made = stack.describe_stacks(StackName="radgate-test")["Stacks"][0]["Outputs"]
        outputs = {one["OutputKey"]: one["OutputValue"] for one in made}
        monkeypatch.setenv("RADGATE_TABLE", outputs["TableName"])
        monkeypatch.setenv("RADGATE_BUCKET", outputs["BucketName"])
        monkeypatch.setenv("RADGATE_QUEUE_URL", outputs["QueueUrl"])
        monkeypatch.setenv("RADGATE_BULK_QUEUE_URL", outputs["BulkQueueUrl"])
        monkeypatch.setenv("RADGATE_DELIVERY_QUEUE_URL", outputs["DeliveryQueueUrl"])
        monkeypatch.setenv("RADGATE_DATA_ROLE", outputs["DataRoleArn"])
        forget_everything()
        yield boto3.resource("dynamodb").Table(outputs["TableName"])
    forget_everything()


@pytest.fixture
def log() -> Iterator[StringIO]:
    """Return what the function writes to its log."""
    handler, written = http.logger.registered_handler, StringIO()
    assert isinstance(handler, StreamHandler)
    before = handler.setStream(written)
    yield written
    handler.setStream(before or sys.stdout)


def admit(table: Table, client: Client | None = None, **key: Any) -> FakeGateway:
    """Register a client with one key and return a gateway that sends it."""
    client, secret = client or a_client(), keys.mint(key.get("mode", "live"))
    record: ApiKey = a_key(client.id, sha256=keys.sha256(secret), **key)
    table.put_item(Item=records.client_item(client))
    for item in records.api_key_items(record):
        table.put_item(Item=item)
    return FakeGateway(app, secret)


def refused(answer: Answer, status: int, code: str) -> dict[str, Any]:
    """Hold an answer to the problem shape and return its body."""
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    own = {"reasons"} if code == "not_a_chest_xray" else set()
    assert set(answer.json()) == {"type", "title", "status", "detail", "code", "request_id"} | own
    body: dict[str, Any] = answer.json()
    return body
