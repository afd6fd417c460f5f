"""Sessions that reach one client's objects: reused, renewed in time, signed into every link."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from chalicelib.aws import RENEWED_SECONDS, SESSION_SECONDS, ClientSessions
from chalicelib.domain import REPORT_NAME
from chalicelib.domain.jobs import UPLOAD_LINK
from chalicelib.errors import StorageUnavailable
from chalicelib.reports.store import LINK_SECONDS, S3DocumentStore
from tests.fakes.reports import STUDY_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLE = "arn:aws:iam::123456789012:role/radgate-test-data"
BUCKET = "radgate-test"
START = 1_800_000_000.0


class FakeSts:
    """Grants sessions of the asked length by a clock that a test moves."""

    def __init__(self) -> None:
        self.now = START
        self.granted: list[dict[str, Any]] = []

    def assume_role(self, **asked: Any) -> dict[str, Any]:
        self.granted.append(asked)
        expires = datetime.fromtimestamp(self.now + asked["DurationSeconds"], UTC)
        number = len(self.granted)
        return {
            "Credentials": {
                "AccessKeyId": f"ASIA{number}",
                "SecretAccessKey": "secret",
                "SessionToken": f"token-{number}",
                "Expiration": expires,
            }
        }


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")


@pytest.fixture
def service() -> FakeSts:
    return FakeSts()


def sessions(service: Any) -> ClientSessions:
    return ClientSessions(service, ROLE, BUCKET, timer=lambda: service.now)


def test_a_session_is_asked_for_once_and_names_its_client(service: FakeSts) -> None:
    s3 = sessions(service)
    assert s3("acme") is s3("acme")
    assert s3("other") is not s3("acme")
    assert [asked["RoleSessionName"] for asked in service.granted] == ["acme", "other"]
    assert {asked["RoleArn"] for asked in service.granted} == {ROLE}
    assert {asked["DurationSeconds"] for asked in service.granted} == {SESSION_SECONDS}
    assert len(service.granted[0]["Policy"]) <= 2048  # STS takes no longer one


def test_a_session_outlives_every_link_that_it_signs() -> None:
    for link in (LINK_SECONDS, UPLOAD_LINK.total_seconds()):
        assert link + 300 <= RENEWED_SECONDS < SESSION_SECONDS


@given(st.lists(st.floats(0, 3000), max_size=12))
def test_whenever_it_is_asked_for_a_session_has_a_links_life_left(pauses: list[float]) -> None:
    service = FakeSts()
    s3 = sessions(service)
    ends: dict[Any, float] = {}
    for pause in pauses:
        service.now += pause
        client = s3("acme")
        ends.setdefault(client, service.now + SESSION_SECONDS)
        assert ends[client] - service.now >= RENEWED_SECONDS
    # And no more often than it must: each is used for at least 40 minutes of asking.
    assert len(service.granted) <= 1 + sum(pauses) / (SESSION_SECONDS - RENEWED_SECONDS)


def test_links_carry_the_session_and_not_the_functions_own_credentials(service: FakeSts) -> None:
    store = S3DocumentStore(sessions(service), BUCKET, lambda: datetime.now(UTC))
    query = parse_qs(urlsplit(store.link("acme", STUDY_ID, REPORT_NAME).url).query)
    assert query["X-Amz-Credential"][0].startswith("ASIA1/")
    assert query["X-Amz-Security-Token"] == ["token-1"]


@pytest.fixture
def account() -> Iterator[None]:
    with mock_aws():
        boto3.client("s3").create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        yield


@pytest.mark.usefixtures("account")
def test_a_document_goes_through_a_real_session() -> None:
    store = S3DocumentStore(
        ClientSessions(boto3.client("sts"), ROLE, BUCKET), BUCKET, lambda: datetime.now(UTC)
    )
    store.put("acme", STUDY_ID, REPORT_NAME, b"%PDF")
    [kept] = boto3.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]
    assert kept["Key"] == f"clients/acme/studies/{STUDY_ID}/report.pdf"


def test_a_refusal_by_sts_is_a_storage_that_does_not_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = boto3.client("sts")
    with Stubber(client) as stubber:
        stubber.add_client_error("assume_role", "AccessDenied", "acme may not")
        store = S3DocumentStore(
            ClientSessions(client, ROLE, BUCKET), BUCKET, lambda: datetime.now(UTC)
        )
        with pytest.raises(StorageUnavailable) as refused:
            store.link("acme", STUDY_ID, REPORT_NAME)
    assert refused.value.__cause__ is None
    assert "acme" not in caplog.text
    assert "AccessDenied" in caplog.text


def test_a_refused_session_is_asked_for_again() -> None:
    client = boto3.client("sts")
    s3 = ClientSessions(client, ROLE, BUCKET)
    with Stubber(client) as stubber:
        stubber.add_client_error("assume_role", "AccessDenied")
        stubber.add_client_error("assume_role", "AccessDenied")
        for _ in range(2):
            with pytest.raises(ClientError):
                s3("acme")
        stubber.assert_no_pending_responses()
