"""Erasure through the whole app, with the real adapters over moto; what the log is told."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from chalicelib import bootstrap
from chalicelib.domain import Message, Scope
from chalicelib.services.timing import Deadline
from chalicelib.tenants import keys, records
from tests.fakes.values import a_client
from tests.integration.conftest import admit, refused
from tests.integration.intake.conftest import (
    FORM_IS_OVER,
    KEY,
    objects,
    open_upload,
    post_study,
    queue_upload,
    send,
    used,
)

if TYPE_CHECKING:
    from io import StringIO

    import pytest
    from mypy_boto3_dynamodb.service_resource import Table

    from tests.fakes.gateway import Answer, FakeGateway


def test_queueing_and_erasing_need_the_scope_to_write(table: Table, chest: bytes) -> None:
    reader = admit(table, scopes=frozenset({Scope.STUDIES_READ}))
    refused(post_study(reader, chest), 403, "insufficient_scope")
    refused(reader.call("POST", "/uploads", body=b"{}"), 403, "insufficient_scope")
    answer = reader.call("DELETE", "/studies/{study_id}", path={"study_id": "st_x"})
    refused(answer, 403, "insufficient_scope")


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
