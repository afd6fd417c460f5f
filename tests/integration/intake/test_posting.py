"""Posted and uploaded studies through the whole app, with the real adapters over moto."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import pytest

from app import app
from chalicelib import aws, bootstrap, settings
from chalicelib.domain import MAX_UPLOAD_BYTES
from chalicelib.inputs import MAX_BODY_BYTES
from chalicelib.tenants import keys, records
from tests.fakes.gateway import FakeGateway
from tests.fakes.values import a_client, a_plan
from tests.integration.conftest import admit, refused
from tests.integration.intake.conftest import (
    KEY,
    messages,
    objects,
    open_upload,
    post_study,
    queue_upload,
    send,
    used,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


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
