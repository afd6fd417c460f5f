"""The whole app in one process: its handlers, the real adapters and the shipped pack over moto."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from pydicom.data import get_testdata_file

from app import app
from chalicelib import bootstrap, settings
from chalicelib.domain import Scope
from chalicelib.inputs import MAX_BODY_BYTES
from chalicelib.tenants import keys
from tests.fakes.gateway import FakeGateway
from tests.fakes.values import a_client, a_plan
from tests.fresh import forget_everything
from tests.integration.conftest import admit, refused

if TYPE_CHECKING:
    from io import StringIO

    from mypy_boto3_dynamodb.service_resource import Table

STUDY_FIELDS = {
    "id",
    "status",
    "created_at",
    "completed_at",
    "label",
    "findings",
    "model",
    "image",
    "quality",
    "report",
    "heatmaps",
    "mode",
    "error",
}


def without_links(study: dict[str, Any]) -> dict[str, Any]:
    """Return a study without what is signed afresh at each reading."""
    return {**study, "report": None, "heatmaps": [one["label"] for one in study["heatmaps"]]}


def test_a_radiograph_becomes_a_study_with_a_report(table: Table, chest: bytes) -> None:
    gateway = admit(table)
    answer = gateway.call("POST", "/xray", body=chest, headers={"Content-Type": "image/jpg"})
    assert answer.status == 200
    study = answer.json()
    assert set(study) == STUDY_FIELDS
    assert study["status"] == "succeeded"
    assert study["image"]["format"] == "DICOM"
    assert study["image"]["width"] == 1841
    assert study["model"]["name"] == "cardionet"
    laps = [lap.split(";")[0] for lap in answer.headers["server-timing"].split(", ")]
    assert laps == ["decode", "gate", "predict", "report", "store"]
    assert answer.headers["ratelimit"].startswith('"studies";r=99;t=')
    assert answer.headers["ratelimit-policy"].startswith('"studies";q=100;w=')

    stored = boto3.client("s3").get_object(
        Bucket=settings.settings().bucket,
        Key=f"clients/acme/studies/{study['id']}/report.pdf",
    )
    assert stored["Body"].read(5) == b"%PDF-"
    assert study["image"]["steps"][:2] == ["voi_lut", "invert"]

    again = gateway.get("/studies/{study_id}", study_id=study["id"]).json()
    assert without_links(again) == without_links(study)
    link = gateway.get("/studies/{study_id}/report", study_id=study["id"]).json()
    assert set(link) == {"url", "expires_at", "media_type"}
    assert [one["id"] for one in gateway.get("/studies").json()["items"]] == [study["id"]]
    assert gateway.get("/account").json()["usage"]["used"] == 1


def test_anothers_study_is_not_there(table: Table, chest: bytes) -> None:
    study_id = admit(table).call("POST", "/xray", body=chest).json()["id"]
    stranger = admit(table, a_client("other"))
    for route in ("/studies/{study_id}", "/studies/{study_id}/report"):
        theirs = refused(stranger.get(route, study_id=study_id), 404, "not_found")
        nothing = refused(stranger.get(route, study_id="st_nothing"), 404, "not_found")
        assert theirs == nothing
    assert stranger.get("/studies").json()["items"] == []


def test_a_test_key_marks_its_study_and_meters_nothing(table: Table, chest: bytes) -> None:
    gateway = admit(table, mode="test")
    assert gateway.call("POST", "/xray", body=chest).json()["mode"] == "test"
    assert gateway.get("/account").json()["usage"]["used"] == 0


def test_every_way_a_key_can_fail(table: Table) -> None:
    unknown = FakeGateway(app, keys.mint())
    nobody = FakeGateway(app)
    revoked = admit(table, revoked_at=bootstrap.now())
    expired = admit(table, expires_at=bootstrap.now())
    suspended = admit(table, a_client("paused", status="suspended"))
    reader = admit(table, a_client("reader"), scopes=frozenset({Scope.STUDIES_READ}))
    refused(nobody.get("/account"), 403, "missing_or_unknown_key")
    refused(unknown.get("/account"), 403, "missing_or_unknown_key")
    refused(revoked.get("/account"), 403, "key_revoked")
    refused(expired.get("/account"), 403, "key_expired")
    refused(suspended.get("/account"), 403, "client_suspended")
    for ended in (revoked, expired, suspended):
        assert "ratelimit" not in ended.get("/account").headers
    lacking = reader.get("/account")
    refused(lacking, 403, "insufficient_scope")
    assert lacking.headers["ratelimit"].startswith('"studies";r=')
    assert lacking.headers["ratelimit-policy"].startswith('"studies";q=')
    refused(reader.call("POST", "/xray", body=b"x"), 403, "insufficient_scope")
    assert reader.get("/studies").status == 200


def test_the_quota_is_hard_and_says_when_it_ends(table: Table, chest: bytes) -> None:
    gateway = admit(table, a_client(plan=a_plan(studies=1)))
    assert gateway.call("POST", "/xray", body=chest).status == 200
    answer = gateway.call("POST", "/xray", body=chest)
    refused(answer, 429, "quota_exceeded")
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["ratelimit"].startswith('"studies";r=0;')


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(b"", 400, "invalid_request", id="empty"),
        pytest.param(b"GIF89a" + bytes(64), 415, "unsupported_media_type", id="gif"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(64), 422, "unreadable_image", id="broken png"),
        pytest.param(bytes(MAX_BODY_BYTES + 1), 413, "payload_too_large", id="too large"),
    ],
)
def test_a_bad_body_is_refused_and_costs_nothing(
    table: Table, body: bytes, status: int, code: str
) -> None:
    gateway = admit(table)
    problem = refused(gateway.call("POST", "/xray", body=body), status, code)
    if code == "payload_too_large":
        assert "/uploads" in problem["detail"]
    assert gateway.get("/account").json()["usage"]["used"] == 0
    assert gateway.get("/studies").json()["items"] == []


def test_a_lower_leg_is_no_chest(table: Table) -> None:
    path = get_testdata_file("RG3_J2KI.dcm", download=False)
    assert isinstance(path, str)
    gateway = admit(table)
    problem = refused(
        gateway.call("POST", "/xray", body=Path(path).read_bytes()), 422, "not_a_chest_xray"
    )
    assert set(problem["reasons"]) <= {"not_a_chest", "not_a_radiograph"}
    assert problem["reasons"]
    assert "does not look like" in problem["detail"]
    assert "_" not in problem["detail"]


@pytest.mark.parametrize(
    ("route", "query"),
    [
        ("/studies", {"limit": "0"}),
        ("/studies", {"limit": "many"}),
        ("/studies", {"status": "lost"}),
        ("/studies", {"cursor": "made up"}),
        ("/studies/{study_id}/report", {"format": "docx"}),
    ],
)
def test_a_bad_parameter_is_named(table: Table, route: str, query: dict[str, str]) -> None:
    gateway = admit(table)
    answer = gateway.call("GET", route, query=query, path={"study_id": "st_x"})
    problem = refused(answer, 400, "invalid_request")
    assert next(iter(query)) in problem["detail"].lower()


def test_the_model_is_told_of_and_ready(table: Table) -> None:
    gateway = admit(table)
    models = gateway.get("/models").json()["items"]
    assert [one["name"] for one in models if one["active"]] == ["cardionet"]
    open_gateway = FakeGateway(app)
    assert open_gateway.get("/health").json()["status"] == "up"
    assert open_gateway.get("/ready").json()["model"]["name"] == "cardionet"


def test_without_a_model_ready_and_xray_are_503(
    table: Table, chest: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = admit(table)
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    forget_everything()
    for answer in (
        FakeGateway(app).get("/ready"),
        gateway.get("/models"),
        gateway.call("POST", "/xray", body=chest),
    ):
        refused(answer, 503, "model_unavailable")
        assert int(answer.headers["retry-after"]) > 0
    assert FakeGateway(app).get("/health").status == 200


def test_without_storage_keyed_routes_are_503(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = admit(table)
    monkeypatch.setenv("RADGATE_TABLE", "gone")
    forget_everything()
    refused(gateway.get("/account"), 503, "storage_unavailable")


def test_a_defect_of_ours_tells_only_an_id(
    table: Table, monkeypatch: pytest.MonkeyPatch, log: StringIO
) -> None:
    gateway = admit(table)
    monkeypatch.setenv("RADGATE_BUCKET", "")
    monkeypatch.delenv("RADGATE_TABLE")
    forget_everything()
    problem = refused(gateway.get("/account"), 500, "internal_error")
    assert "RADGATE_TABLE" not in json.dumps(problem)
    defect = json.loads(log.getvalue().splitlines()[0])
    assert (defect["message"], defect["kind"]) == ("defect", "ValidationError")
    assert defect["request_id"] == problem["request_id"]


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "text/html"])
def test_the_accept_header_decides_nothing(accept: str | None) -> None:
    headers = {} if accept is None else {"Accept": accept}
    answer = FakeGateway(app).call("GET", "/health", headers=headers)
    assert answer.status == 200


def test_no_key_and_no_image_reach_the_log(
    table: Table, chest: bytes, log: StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway = admit(table)
    study = gateway.call("POST", "/xray", body=chest).json()
    gateway.call("POST", "/xray", body=b"\x89PNG\r\n\x1a\n" + bytes(64))
    captured = capfd.readouterr()
    assert gateway.key is not None
    everything = log.getvalue() + captured.out + captured.err + json.dumps(study)
    assert gateway.key[3:35] not in everything
    assert keys.sha256(gateway.key) not in everything
    # What the headers of RG1 hold of a person and a place.
    for word in ("CompressedSamples", "RG1", "1.3.6.1.4.1"):
        assert word not in everything
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["route"], line["status"]) for line in lines] == [("/xray", 200), ("/xray", 422)]
    assert lines[0]["client"] == "acme"


@pytest.mark.usefixtures("table")
def test_health_does_not_wait_for_a_network() -> None:
    FakeGateway(app).get("/health")
    assert bootstrap.predictor.cache_info().currsize == 0
