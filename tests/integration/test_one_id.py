"""One study in the logs of all functions, found by the id of the request that queued it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3

import app
from chalicelib import settings
from chalicelib.delivery import signature
from chalicelib.domain import SigningSecrets
from chalicelib.tenants import records
from chalicelib.tenants.deployment import DEPLOYMENT_KEY
from chalicelib.tenants.webhooks import secrets_item
from tests.fakes.receiver import receiving
from tests.fakes.values import a_client
from tests.integration.conftest import admit
from tests.integration.test_worker_function import event

if TYPE_CHECKING:
    from io import StringIO

    import pytest
    from mypy_boto3_dynamodb.service_resource import Table

    from tests.fakes.gateway import FakeGateway

REQUEST = "7f3f0d4e-0b1c-4d83-9a35-5d0c1c2f9b11"
FAILURE = "unsupported_media_type"  # of what is neither DICOM nor PNG nor JPEG
SCHEDULED: dict[str, Any] = {
    **dict.fromkeys(
        ("version", "account", "region", "detail-type", "source", "time", "id"), "scheduled"
    ),
    "detail": {},
    "resources": [],
}


def call(request_id: str) -> SimpleNamespace:
    """Return the context of one call of a function, as far as it is read."""
    return SimpleNamespace(aws_request_id=request_id)


def notices() -> dict[str, Any]:
    """Return what Lambda hands over of the queue of deliveries."""
    found = boto3.client("sqs").receive_message(
        QueueUrl=settings.settings().delivery_queue_url, MaxNumberOfMessages=10
    )
    return {
        "Records": [
            {"messageId": one.get("MessageId"), "body": one.get("Body")}
            for one in found.get("Messages", [])
        ]
    }


def as_local_stage(patch: pytest.MonkeyPatch) -> None:
    """Let webhooks lead to this machine and mail be sent, as on stage local."""
    for name, value in {
        "RADGATE_STAGE": "local",
        "RADGATE_WEBHOOK_LOOPBACK": "1",
        "RADGATE_MAIL_FROM": "radgate@radgate.example",
    }.items():
        patch.setenv(name, value)
    settings.settings.cache_clear()
    boto3.client("sesv2").create_email_identity(EmailIdentity="radgate@radgate.example")


def admit_told(table: Table, port: int) -> FakeGateway:
    """Register a client that is told by mail and by a webhook to a port of this machine."""
    client = a_client(mail=True, webhook=f"http://127.0.0.1:{port}/hooks")
    signing = SigningSecrets(current=signature.new_secret())
    table.put_item(Item=secrets_item(client.id, signing))
    table.put_item(Item={**DEPLOYMENT_KEY, "api_url": "https://api.example/v1"})
    return admit(table, client)


def test_one_id_leads_through_the_logs_of_all_functions(
    table: Table,
    log: StringIO,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    as_local_stage(monkeypatch)
    with receiving() as receiver:
        gateway = admit_told(table, receiver.port)
        answer = gateway.call("POST", "/studies", body=b"broken", context={"requestId": REQUEST})
        study = answer.json()["id"]
        event()  # SQS loses the message, so the sweeper sends another
        table.update_item(
            Key=records.job_key(study),
            UpdateExpression="SET created_at = :then",
            ExpressionAttributeValues={
                ":then": (datetime.now(UTC) - timedelta(hours=1)).isoformat()
            },
        )
        app.sweep(SCHEDULED, call("sweep-1"))
        assert app.worker(event(), call("worker-1")) == {"batchItemFailures": []}
        assert app.deliver(notices(), call("deliver-1")) == {"batchItemFailures": []}
        assert len(receiver.requests) == 1
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    mine = [line for line in lines if line.get("request_id") == REQUEST]
    assert [(line["message"], line.get("function_request_id")) for line in mine] == [
        ("request", None),
        ("rung", "sweep-1"),
        ("begun", "worker-1"),
        ("study", "worker-1"),
        ("delivery", "deliver-1"),
        ("delivery", "deliver-1"),
    ]
    assert {line["study_id"] for line in mine} == {study}
    assert {line["client"] for line in mine} == {"acme"}
    assert {line.get("channel") for line in mine[4:]} == {"mail", "webhook"}
    assert {line["status"] for line in mine[4:]} == {"delivered"}
    # What is of no study in particular names its call all the same.
    assert {line["function_request_id"] for line in lines if line["message"] == "sweep"} == {
        "sweep-1"
    }
    counted = metrics(capfd.readouterr().out)
    assert counted["QueueAge", "worker"][0]["QueueAge"][0] > 3600
    assert counted["OldestJob", "sweep"][0]["OldestJob"][0] > 3600
    assert [one["outcome"] for one in counted["StudiesEnded", "worker"]] == [FAILURE]
    assert len(counted["StudyAge", "worker"]) == 1
    assert {one["part"] for one in counted["BatchTime", "worker"]} == {"fetch", "decode"}
    swept = {one["what"]: one["Swept"] for one in counted["Swept", "sweep"]}
    assert (swept["rung"], swept["failures"]) == ([1.0], [0.0])
    told = {(one["channel"], one["outcome"]) for one in counted["Deliveries", "deliver"]}
    assert told == {("mail", "delivered"), ("webhook", "delivered")}
    assert [one["outcome"] for one in counted["Requests", "api_handler"]] == ["answered"]
    for function in ("api_handler", "worker", "sweep", "deliver"):
        assert len(counted["ColdStarts", function]) == 1, function


def metrics(written: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the lines of CloudWatch's embedded format by metric and function."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for text in written.splitlines():
        if not text.startswith('{"_aws"'):
            continue
        line = json.loads(text)
        [directive] = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "Radgate"
        for metric in directive["Metrics"]:
            found.setdefault((metric["Name"], line["function"]), []).append(line)
    return found


def test_an_erasure_is_found_by_the_study_and_by_the_call_that_made_it(
    table: Table, log: StringIO
) -> None:
    gateway = replace(admit(table), lambda_context=call("api-1"))
    study = gateway.call("POST", "/studies", body=b"broken").json()["id"]
    gateway.call("DELETE", "/studies/{study_id}", path={"study_id": study})
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    [erased] = [line for line in lines if line["message"] == "study erased"]
    assert (erased["study_id"], erased["client"]) == (study, "acme")
    assert erased["function_request_id"] == "api-1"
