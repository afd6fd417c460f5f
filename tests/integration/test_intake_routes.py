"""Uploads, queued studies and erasure through the whole app, with the real adapters over moto."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import boto3
import pytest
import requests
from pydicom.data import get_testdata_file

from app import app
from chalicelib import aws, bootstrap, settings
from chalicelib.domain import LAST_BYTES, MAX_UPLOAD_BYTES, UPLOAD_LINK, Message, Scope
from chalicelib.inputs import MAX_BODY_BYTES
from chalicelib.services.timing import Deadline
from chalicelib.tenants import keys, records
from tests.fakes.gateway import FakeGateway
from tests.fakes.values import a_client, a_plan
from tests.integration.conftest import admit, refused

if TYPE_CHECKING:
    from io import StringIO

    from mypy_boto3_dynamodb.service_resource import Table

    from tests.fakes.gateway import Answer

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


def test_posted_bytes_are_queued(table: Table, chest: bytes) -> None:
    gateway = admit(table)
    answer = post_study(gateway, chest, **{"Content-Type": "application/json"})
    study = answer.json()
    assert (answer.status, study["status"]) == (202, "queued")
    assert answer.headers["ratelimit"].startswith('"studies";r=99;')
    where = urljoin("https://api.example/v1/studies", answer.headers["location"])
    assert where == f"https://api.example/v1/studies/{study['id']}"
    assert gateway.get("/studies/{study_id}", study_id=study["id"]).json() == study
    assert [one["id"] for one in gateway.get("/studies").json()["items"]] == [study["id"]]
    queued = gateway.get("/studies", {"status": "queued"}).json()["items"]
    assert [one["id"] for one in queued] == [study["id"]]
    refused(gateway.get("/studies/{study_id}/report", study_id=study["id"]), 409, "not_finished")
    [message] = messages(settings.settings().queue_url)
    assert (message.client_id, message.study_id) == ("acme", study["id"])
    [name] = objects()
    assert name.startswith(f"uploads/acme/{study['id']}-")


def test_requests_are_counted_by_how_they_end(
    table: Table, chest: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = admit(table)
    post_study(gateway, chest)
    refused(gateway.get("/studies/{study_id}", study_id="st_none"), 404, "not_found")
    refused(FakeGateway(app, keys.mint()).get("/account"), 403, "missing_or_unknown_key")
    gateway.call("GET", "/health")
    lines = [text for text in capsys.readouterr().out.splitlines() if text.startswith('{"_aws"')]
    metrics = [json.loads(text) for text in lines]
    counted = [one["outcome"] for one in metrics if "Requests" in one]
    assert counted == ["answered", "not_found", "missing_or_unknown_key"]
    assert sum("ColdStarts" in one for one in metrics) == 1
    assert {one["function"] for one in metrics} == {"api_handler"}


def test_the_counter_of_units_is_read_once_for_each_request(table: Table, chest: bytes) -> None:
    gateway = admit(table)
    reads: list[str] = []

    def note(params: dict[str, Any], **_: object) -> None:
        if params.get("Key", {}).get("sk", "").startswith(records.USAGE_PREFIX):
            reads.append(params["Key"]["sk"])

    bootstrap.ledger()
    events = aws.table(settings.settings().table).meta.client.meta.events
    events.register("provide-client-params.dynamodb.GetItem", note)
    posted = gateway.call("POST", "/xray", body=chest)
    assert posted.status in {200, 202}  # a busy machine may queue it: both are metered
    assert posted.headers["ratelimit"].startswith('"studies";r=99;')
    assert len(reads) == 1
    assert post_study(gateway, chest, **KEY).headers["ratelimit"].startswith('"studies";r=98;')
    assert len(reads) == 2
    # The same study as before: nothing is spent.
    assert post_study(gateway, chest, **KEY).headers["ratelimit"].startswith('"studies";r=98;')
    assert len(reads) == 3


def test_an_image_too_large_for_the_gateway_is_uploaded_and_queued(
    table: Table, large_chest: bytes
) -> None:
    gateway = admit(table)
    assert len(large_chest) > MAX_BODY_BYTES
    form = open_upload(gateway, len(large_chest))
    assert set(form) == {"upload_id", "url", "fields", "max_bytes", "expires_at"}
    assert form["max_bytes"] == len(large_chest)
    refused(queue_upload(gateway, form["upload_id"]), 409, "not_finished")
    send(form, large_chest)
    answer = queue_upload(gateway, form["upload_id"])
    assert (answer.status, answer.json()["status"]) == (202, "queued")
    job = bootstrap.job_store().begin("acme", answer.json()["id"])
    assert job is not None
    assert bootstrap.source_store().get(job.object_name) == large_chest
    refused(queue_upload(gateway, form["upload_id"]), 404, "not_found")
    assert used(gateway) == 1


def test_anothers_upload_is_not_there(table: Table, chest: bytes) -> None:
    form = open_upload(admit(table), len(chest))
    send(form, chest)
    stranger = admit(table, a_client("other"))
    theirs = refused(queue_upload(stranger, form["upload_id"]), 404, "not_found")
    nothing = refused(queue_upload(stranger, "up_nothing"), 404, "not_found")
    assert theirs == nothing


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"size": MAX_UPLOAD_BYTES + 1, "content_type": "image/png"}, 413, "payload_too_large"),
        ({"size": 0, "content_type": "image/png"}, 400, "invalid_request"),
        ({"size": 9}, 400, "invalid_request"),
        (["size"], 400, "invalid_request"),
    ],
)
def test_a_wrong_request_for_an_upload_is_refused(
    table: Table, asked: object, status: int, code: str
) -> None:
    gateway = admit(table)
    answer = gateway.call("POST", "/uploads", body=json.dumps(asked).encode())
    refused(answer, status, code)


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", {}, 400, "invalid_request"),
        (b"{}", {}, 400, "invalid_request"),
        (b"[]", {"Content-Type": "application/json"}, 400, "invalid_request"),
        (b"\x89PNG", {"Idempotency-Key": ""}, 400, "invalid_request"),
        (b"\x89PNG", {"Idempotency-Key": "two words"}, 400, "invalid_request"),
        (bytes(MAX_BODY_BYTES + 1), {}, 413, "payload_too_large"),
    ],
)
def test_a_wrong_request_for_a_study_is_refused_and_leaves_nothing(
    table: Table, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    gateway = admit(table)
    refused(post_study(gateway, body, **headers), status, code)
    assert (used(gateway), objects()) == (0, [])


def test_an_idempotency_key_makes_one_study(table: Table, chest: bytes) -> None:
    gateway = admit(table)
    first = post_study(gateway, chest, **KEY)
    again = post_study(gateway, chest, **{"Idempotency-Key": KEY["Idempotency-Key"].strip('"')})
    assert (again.status, again.json()) == (202, first.json())
    assert again.headers["location"] == first.headers["location"]
    refused(post_study(gateway, chest + b" ", **KEY), 409, "idempotency_conflict")
    assert (used(gateway), len(objects())) == (1, 1)
    assert len(messages(settings.settings().queue_url)) == 1


def test_without_a_unit_nothing_is_stored(table: Table, chest: bytes) -> None:
    gateway = admit(table, a_client(plan=a_plan(studies=1)))
    assert post_study(gateway, chest).status == 202
    answer = post_study(gateway, chest)
    refused(answer, 429, "quota_exceeded")
    assert int(answer.headers["retry-after"]) > 0
    assert len(objects()) == 1
    assert len(gateway.get("/studies").json()["items"]) == 1


def test_what_goes_beyond_a_clients_share_waits_in_the_bulk_queue(
    table: Table, chest: bytes
) -> None:
    gateway, queues = admit(table, mode="test"), settings.settings()
    for _ in range(12):
        assert post_study(gateway, chest).status == 202
    assert len(messages(queues.queue_url)) == 10
    assert len(messages(queues.bulk_queue_url)) == 2


def test_queueing_and_erasing_need_the_scope_to_write(table: Table, chest: bytes) -> None:
    reader = admit(table, scopes=frozenset({Scope.STUDIES_READ}))
    refused(post_study(reader, chest), 403, "insufficient_scope")
    refused(reader.call("POST", "/uploads", body=b"{}"), 403, "insufficient_scope")
    answer = reader.call("DELETE", "/studies/{study_id}", path={"study_id": "st_x"})
    refused(answer, 403, "insufficient_scope")


# --- erasure ----------------------------------------------------------------------------


def erase(gateway: FakeGateway, study_id: str) -> Answer:
    return gateway.call("DELETE", "/studies/{study_id}", path={"study_id": study_id})


def test_nothing_of_an_erased_study_is_left(
    table: Table, chest: bytes, log: StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway = admit(table)
    study = gateway.call("POST", "/xray", body=chest).json()
    assert len(objects()) >= 1
    answer = erase(gateway, study["id"])
    assert (answer.status, answer.body) == (204, b"")
    assert objects() == []
    rows = [row for row in table.scan()["Items"] if study["id"] in str(row)]
    assert [row["sk"] for row in rows] == [f"STUDY#{study['id']}"]
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    [told] = [line for line in lines if line["message"] == "study erased"]
    assert (told["client"], told["study_id"]) == (a_client().id, study["id"])
    captured = capfd.readouterr()
    everything = json.dumps(rows, default=str) + log.getvalue() + captured.out + captured.err
    for word in (
        study["label"],
        study["image"]["sha256"],
        study["model"]["sha256"],
        *(str(finding["probability"]) for finding in study["findings"]),
        "findings",
        "label",
    ):
        assert word not in everything
    left = gateway.get("/studies/{study_id}", study_id=study["id"]).json()
    assert {name for name, value in left.items() if value} == {"id", "status", "created_at", "mode"}
    assert (left["status"], left["created_at"]) == ("deleted", study["created_at"])
    refused(gateway.get("/studies/{study_id}/report", study_id=study["id"]), 404, "not_found")
    assert used(gateway) == 1


def test_nothing_of_an_erased_upload_is_left_whatever_its_form_takes_later(
    table: Table, chest: bytes, log: StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway = admit(table, mode="test")
    form = open_upload(gateway, len(chest))
    send(form, chest)
    study_id = queue_upload(gateway, form["upload_id"], **KEY).json()["id"]
    send(form, chest[::-1])
    message = Message(client_id="acme", study_id=study_id)
    assert bootstrap.worker().work([message]) == (None,)
    study = gateway.get("/studies/{study_id}", study_id=study_id).json()
    assert study["image"]["sha256"] == hashlib.sha256(chest).hexdigest()
    word = {str(row["sk"])[:4]: row for row in table.scan()["Items"]}["ONCE"]
    assert erase(gateway, study_id).status == 204
    assert objects() == []
    # The form is still good. What comes now is of no study, and goes when the form has ended.
    send(form, chest)
    assert objects() == [form["fields"]["key"]]
    refused(queue_upload(gateway, form["upload_id"], **KEY), 409, "idempotency_conflict")
    refused(queue_upload(gateway, form["upload_id"]), 404, "not_found")
    bootstrap.sweeper().sweep(Deadline(50))
    assert objects() == [form["fields"]["key"]]
    made_long_ago(table, form["upload_id"])
    bootstrap.sweeper().sweep(Deadline(50))
    assert objects() == []
    rows = [row for row in table.scan()["Items"] if row["sk"] != "CLIENT"]
    assert not [row for row in rows if str(row["sk"]).startswith("UPLOAD#")]
    assert [row["sk"] for row in rows if study_id in str(row)] == [f"STUDY#{study_id}"]
    captured = capfd.readouterr()
    everything = json.dumps(rows, default=str) + log.getvalue() + captured.out + captured.err
    for secret in (
        study["image"]["sha256"],
        word["fingerprint"],
        study["label"],
        *(str(finding["probability"]) for finding in study["findings"]),
    ):
        assert secret not in everything


def made_long_ago(table: Table, upload_id: str) -> None:
    """Let the time pass that the form of a spent upload is good for."""
    table.update_item(
        Key=records.upload_key("acme", upload_id),
        UpdateExpression="SET gsi1sk = :then",
        ConditionExpression="attribute_exists(gsi1sk)",
        ExpressionAttributeValues={":then": records.moment(bootstrap.now() - FORM_IS_OVER)},
    )


def test_a_queued_study_is_erased_with_its_bytes(table: Table, chest: bytes) -> None:
    gateway = admit(table)
    study_id = post_study(gateway, chest).json()["id"]
    assert erase(gateway, study_id).status == 204
    assert objects() == []
    assert "Item" not in table.get_item(Key=records.job_key(study_id))
    assert bootstrap.job_store().begin("acme", study_id) is None


def test_erasing_again_is_no_error_and_anothers_study_is_not_there(
    table: Table, chest: bytes
) -> None:
    gateway, stranger = admit(table), admit(table, a_client("other"))
    study_id = post_study(gateway, chest).json()["id"]
    theirs = refused(erase(stranger, study_id), 404, "not_found")
    assert theirs == refused(erase(stranger, "st_nothing"), 404, "not_found")
    assert [erase(gateway, study_id).status for _ in range(2)] == [204, 204]


# --- the gateway's time limit -----------------------------------------------------------


def test_a_request_that_has_used_its_time_up_is_queued(table: Table, chest: bytes) -> None:
    gateway = admit(table)
    began = int(bootstrap.now().timestamp() * 1000) - 25_000
    answer = gateway.call("POST", "/xray", body=chest, context={"requestTimeEpoch": began})
    study = answer.json()
    assert (answer.status, study["status"]) == (202, "queued")
    assert answer.headers["location"] == f"studies/{study['id']}"
    [message] = messages(settings.settings().queue_url)
    assert message.study_id == study["id"]
    assert used(gateway) == 1
    job = bootstrap.job_store().begin("acme", study["id"])
    assert job is not None
    assert job.request_id == answer.headers["x-request-id"]
    assert bootstrap.source_store().get(job.object_name) == chest


@pytest.mark.parametrize("ahead", [0, 3_600_000])
def test_a_gateway_whose_clock_runs_ahead_costs_no_time(
    table: Table, chest: bytes, ahead: int
) -> None:
    gateway = admit(table)
    began = int(bootstrap.now().timestamp() * 1000) + ahead
    answer = gateway.call("POST", "/xray", body=chest, context={"requestTimeEpoch": began})
    assert answer.status == 200


def test_no_key_no_image_and_no_upload_reach_the_log(
    table: Table, chest: bytes, log: StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway = admit(table)
    form = open_upload(gateway, len(chest))
    send(form, chest)
    queue_upload(gateway, form["upload_id"], **KEY)
    queue_upload(gateway, form["upload_id"], **KEY)
    captured = capfd.readouterr()
    everything = log.getvalue() + captured.out + captured.err
    assert gateway.key is not None
    for secret in (
        gateway.key[3:35],
        keys.sha256(gateway.key),
        KEY["Idempotency-Key"].strip('"'),
        form["upload_id"],
        form["fields"]["key"].rpartition("-")[2],
        "RG1",
    ):
        assert secret not in everything
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["route"], line["status"]) for line in lines if "route" in line] == [
        ("/uploads", 201),
        ("/studies", 202),
        ("/studies", 202),
    ]
