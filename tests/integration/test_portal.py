"""The description, the reference and the portal, as the app answers with them."""

# ruff: noqa: ARG001 - the foundation must be there, whether or not a test looks into it

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from jsonschema import ValidationError

from app import app
from chalicelib import bootstrap, settings
from chalicelib.aws import objects_origin
from chalicelib.domain import Scope
from chalicelib.portal.openapi import document
from chalicelib.portal.operations import OPERATIONS, PAGES, Operation
from tests.conformance import conforms
from tests.fakes.gateway import Answer, FakeGateway
from tests.fakes.values import a_client, a_study
from tests.fresh import forget_everything
from tests.integration.conftest import admit, refused

if TYPE_CHECKING:
    from io import StringIO

    from mypy_boto3_dynamodb.service_resource import Table

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
KEYED = [operation for operation in OPERATIONS if operation.scope is not None]


def test_each_page_is_itself_for_a_browser(table: Table) -> None:
    for path, media_type, beginning in (
        ("/", "text/html; charset=utf-8", b"<!doctype html>"),
        ("/docs", "text/html; charset=utf-8", b"<!doctype html>"),
        ("/openapi.json", "application/json", b'{"openapi":"3.1.0"'),
    ):
        answer = FakeGateway(app).call("GET", path, headers={"Accept": BROWSER})
        assert answer.status == 200
        assert answer.headers["content-type"] == media_type
        assert answer.body.startswith(beginning)
        assert answer.headers["x-request-id"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert json.loads(answer.body) == document()


@pytest.mark.parametrize("path", sorted({page.path for page in PAGES}))
def test_a_page_that_has_not_changed_is_not_sent_again(table: Table, path: str) -> None:
    gateway = FakeGateway(app)
    first = gateway.get(path)
    assert first.headers["cache-control"] == "public, max-age=300"
    # API Gateway marks the tag of a body that it compresses as weak.
    for tag in (first.headers["etag"], f"W/{first.headers['etag']}"):
        again = gateway.call("GET", path, headers={"If-None-Match": tag})
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    other = gateway.call("GET", path, headers={"If-None-Match": '"another"'})
    assert (other.status, other.body) == (200, first.body)
    head = gateway.call("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["etag"] == first.headers["etag"]


def test_pages_need_neither_key_nor_storage(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADGATE_TABLE", "gone")
    forget_everything()
    for page in PAGES:
        assert FakeGateway(app).call(page.method, page.path).status == 200


def test_the_portal_may_load_what_is_really_signed(table: Table, chest: bytes) -> None:
    gateway = admit(table)
    origin = objects_origin(settings.settings().bucket)
    assert origin in gateway.get("/").headers["content-security-policy"]
    study = gateway.call("POST", "/xray", body=chest).json()
    form = gateway.call("POST", "/uploads", body=b'{"size": 9, "content_type": "image/png"}').json()
    links = [form["url"], study["report"]["url"], *(one["url"] for one in study["heatmaps"])]
    assert all(link.startswith(f"{origin}/") for link in links)


@pytest.mark.parametrize("region", ["eu-central-1", "us-east-1", "cn-north-1"])
@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:4566", "http://[::1]:4566"])
def test_the_origin_is_that_of_links_and_forms_everywhere(
    region: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"AWS_DEFAULT_REGION": region, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    for name, value in (values | ({"AWS_ENDPOINT_URL": endpoint} if endpoint else {})).items():
        monkeypatch.setenv(name, value)
    forget_everything()
    from chalicelib.aws import s3  # noqa: PLC0415 - the client of this region

    link = s3().generate_presigned_url("get_object", Params={"Bucket": "radgate-x", "Key": "k"})
    form = s3().generate_presigned_post("radgate-x", "k")["url"]
    origin = objects_origin("radgate-x")
    forget_everything()
    assert link.startswith(f"{origin}/")
    assert f"{form}/".startswith(f"{origin}/")


@pytest.mark.parametrize("operation", KEYED, ids=lambda one: f"{one.method} {one.path}")
def test_the_scope_that_is_told_is_the_scope_that_is_asked_for(
    table: Table, operation: Operation
) -> None:
    others = frozenset(Scope) - {operation.scope}
    lacking = admit(table, scopes=others)
    answer = lacking.call(
        operation.method, operation.path, body=b"{}", path={"study_id": a_study().id}
    )
    assert str(operation.scope) in refused(answer, 403, "insufficient_scope")["detail"]
    having = admit(table, a_client("other"), scopes=frozenset({operation.scope}))
    answer = having.call(
        operation.method, operation.path, body=b"{}", path={"study_id": a_study().id}
    )
    assert answer.status != 403


def test_an_answer_that_is_not_told_of_is_noticed(table: Table) -> None:
    good = admit(table).get("/account")

    def held(answer: Answer, path: str = "/account") -> None:
        conforms("GET", path, answer.status, answer.headers, answer.body)

    held(good)
    more = json.dumps({**good.json(), "secret": "x"}).encode()
    less = json.dumps({k: v for k, v in good.json().items() if k != "usage"}).encode()
    for body in (more, less):
        with pytest.raises(ValidationError):
            held(Answer(good.status, good.headers, body))
    with pytest.raises(AssertionError, match="may not answer 418"):
        held(Answer(418, good.headers, good.body))
    with pytest.raises(AssertionError, match="untold"):
        held(Answer(good.status, {**good.headers, "location": "x"}, good.body))


def test_pages_leave_nothing_of_the_reader_in_the_log(table: Table, log: StringIO) -> None:
    FakeGateway(app).call("GET", "/", query={"key": "rglSECRET"}, headers={"User-Agent": "ua-7"})
    line = json.loads(log.getvalue())
    assert line["route"] == "/"
    assert "rglSECRET" not in log.getvalue()
    assert "ua-7" not in log.getvalue()


def test_a_page_is_made_once_for_a_process(table: Table) -> None:
    assert bootstrap.pages().openapi is bootstrap.pages().openapi
