"""One contract for the fake store and for S3."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
import requests
from botocore.config import Config

from chalicelib.domain import REPORT_NAME, heatmap_name, new_id
from chalicelib.errors import NotFound, StorageUnavailable
from chalicelib.reports.store import LINK_SECONDS, S3DocumentStore, object_name
from tests.fakes.reports import STUDY_ID, InMemoryDocumentStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

    from chalicelib.ports import DocumentStore

BUCKET = "radgate-test-reports"
PDF = b"%PDF-1.4 a report"


class Subject(NamedTuple):
    store: DocumentStore
    fetch: Callable[[str], bytes | None]


def now() -> datetime:
    return datetime.now(UTC)


def over_http(url: str) -> bytes | None:
    answer = requests.get(url, timeout=5)
    return answer.content if answer.ok else None


@pytest.fixture
def s3(account: None) -> S3Client:
    del account
    client = boto3.client("s3", region_name="us-east-1", config=Config(signature_version="s3v4"))
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture(params=["fake", "s3"])
def subject(request: pytest.FixtureRequest, s3: S3Client) -> Subject:
    if request.param == "fake":
        fake = InMemoryDocumentStore(now)
        return Subject(fake, fake.fetch)
    return Subject(S3DocumentStore(lambda _client: s3, BUCKET, now), over_http)


def test_a_stored_report_comes_back_through_its_link(subject: Subject) -> None:
    subject.store.put("acme", STUDY_ID, REPORT_NAME, PDF)
    link = subject.store.link("acme", STUDY_ID, REPORT_NAME)
    assert link.media_type == "application/pdf"
    assert subject.fetch(link.url) == PDF


def test_a_link_lives_for_fifteen_minutes(subject: Subject) -> None:
    before = now()
    link = subject.store.link("acme", STUDY_ID, REPORT_NAME)
    life = timedelta(seconds=LINK_SECONDS)
    assert timedelta(minutes=15) == life
    assert before + life - timedelta(seconds=1) < link.expires_at <= now() + life


def test_storing_again_replaces(subject: Subject) -> None:
    subject.store.put("acme", STUDY_ID, REPORT_NAME, PDF)
    subject.store.put("acme", STUDY_ID, REPORT_NAME, b"%PDF-1.4 newer")
    assert subject.fetch(subject.store.link("acme", STUDY_ID, REPORT_NAME).url) == b"%PDF-1.4 newer"


def test_a_report_is_stored_over_what_was_seen_and_over_nothing_else(subject: Subject) -> None:
    store = subject.store
    assert store.states("acme", STUDY_ID) == {}
    assert store.put_over("acme", STUDY_ID, REPORT_NAME, PDF, None)
    assert not store.put_over("acme", STUDY_ID, REPORT_NAME, b"%PDF-1.4 late", None)
    [(name, seen)] = store.states("acme", STUDY_ID).items()
    assert name == REPORT_NAME
    assert store.put_over("acme", STUDY_ID, REPORT_NAME, b"%PDF-1.4 newer", seen)
    assert not store.put_over("acme", STUDY_ID, REPORT_NAME, b"%PDF-1.4 late", seen)
    assert subject.fetch(store.link("acme", STUDY_ID, REPORT_NAME).url) == b"%PDF-1.4 newer"
    store.delete("acme", STUDY_ID, REPORT_NAME)
    assert not store.put_over("acme", STUDY_ID, REPORT_NAME, b"%PDF-1.4 late", seen)
    assert store.states("acme", STUDY_ID) == {}


def test_a_deleted_report_is_gone_even_for_an_older_link(subject: Subject) -> None:
    subject.store.put("acme", STUDY_ID, REPORT_NAME, PDF)
    link = subject.store.link("acme", STUDY_ID, REPORT_NAME)
    subject.store.delete("acme", STUDY_ID, REPORT_NAME)
    subject.store.delete("acme", STUDY_ID, REPORT_NAME)
    assert subject.fetch(link.url) is None


def test_all_documents_of_one_study_go_and_no_others(subject: Subject) -> None:
    names = (REPORT_NAME, heatmap_name("Cardiomegaly"), heatmap_name("Lung Lesion"))
    neighbours = (("acme", new_id("st")), ("acme-two", STUDY_ID))
    for client_id, study_id in (("acme", STUDY_ID), *neighbours):
        for name in names:
            subject.store.put(client_id, study_id, name, PDF)
    for _ in range(2):
        subject.store.delete_all("acme", STUDY_ID)

    def left(client_id: str, study_id: str) -> list[str]:
        links = {name: subject.store.link(client_id, study_id, name).url for name in names}
        return [name for name, url in links.items() if subject.fetch(url) is not None]

    assert left("acme", STUDY_ID) == []
    assert [left(*neighbour) for neighbour in neighbours] == [list(names)] * 2


def test_clients_with_the_same_study_id_do_not_meet(subject: Subject) -> None:
    subject.store.put("acme", STUDY_ID, REPORT_NAME, PDF)
    subject.store.put("acme-two", STUDY_ID, REPORT_NAME, b"%PDF-1.4 another's")
    subject.store.delete("acme-two", STUDY_ID, REPORT_NAME)
    assert subject.fetch(subject.store.link("acme", STUDY_ID, REPORT_NAME).url) == PDF
    assert subject.fetch(subject.store.link("acme-two", STUDY_ID, REPORT_NAME).url) is None


@pytest.mark.parametrize(
    ("client_id", "study_id"),
    [
        ("acme", ""),
        ("acme", "st_"),
        ("acme", "../../other/studies/" + STUDY_ID),
        ("acme", STUDY_ID + "/../" + STUDY_ID),
        ("acme", STUDY_ID + "\n"),
        ("acme", STUDY_ID.lower()),
        ("acme", "key_" + STUDY_ID[3:]),
        ("acme/studies", STUDY_ID),
        ("..", STUDY_ID),
        ("Acme", STUDY_ID),
        ("acme\n", STUDY_ID),
        ("", STUDY_ID),
    ],
)
def test_an_id_that_was_never_given_out_names_no_object(
    subject: Subject, client_id: str, study_id: str
) -> None:
    for action in (
        lambda: subject.store.put(client_id, study_id, REPORT_NAME, PDF),
        lambda: subject.store.states(client_id, study_id),
        lambda: subject.store.put_over(client_id, study_id, REPORT_NAME, PDF, None),
        lambda: subject.store.link(client_id, study_id, REPORT_NAME),
        lambda: subject.store.delete(client_id, study_id, REPORT_NAME),
        lambda: subject.store.delete_all(client_id, study_id),
    ):
        with pytest.raises(NotFound) as refused:
            action()
        assert refused.value.__suppress_context__


@pytest.mark.parametrize(
    "name", ["", "report.pdf/", "../report.pdf", "heatmap-.exe", "heatmap-A.png", "report.pdf\n"]
)
def test_a_name_that_was_never_given_out_names_no_object(subject: Subject, name: str) -> None:
    with pytest.raises(NotFound):
        subject.store.link("acme", STUDY_ID, name)


@pytest.mark.parametrize("label", ["Cardiomegaly", "Pleural_Thickening", "Lung Lesion"])
def test_a_heatmap_lies_beside_its_report(subject: Subject, label: str) -> None:
    subject.store.put("acme", STUDY_ID, heatmap_name(label), b"a picture")
    link = subject.store.link("acme", STUDY_ID, heatmap_name(label))
    assert link.media_type == "image/png"
    assert subject.fetch(link.url) == b"a picture"
    assert subject.fetch(subject.store.link("acme", STUDY_ID, REPORT_NAME).url) is None


def test_fresh_ids_are_accepted() -> None:
    study_id = new_id("st")
    assert (
        object_name("acme", study_id, REPORT_NAME) == f"clients/acme/studies/{study_id}/report.pdf"
    )


def test_the_object_is_encrypted_as_the_bucket_says_private_and_named_for_the_study(
    s3: S3Client,
) -> None:
    s3.put_bucket_encryption(
        Bucket=BUCKET,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]
        },
    )
    S3DocumentStore(lambda _client: s3, BUCKET, now).put("acme", STUDY_ID, REPORT_NAME, PDF)
    kept = s3.head_object(Bucket=BUCKET, Key=f"clients/acme/studies/{STUDY_ID}/report.pdf")
    assert kept["ServerSideEncryption"] == "aws:kms"
    assert kept["ContentType"] == "application/pdf"
    assert kept["ContentDisposition"] == f'inline; filename="{STUDY_ID}-report.pdf"'
    assert kept["CacheControl"] == "private, no-store"
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 1


def test_the_signature_is_version_4_and_dies_when_the_link_says(s3: S3Client) -> None:
    link = S3DocumentStore(lambda _client: s3, BUCKET, now).link("acme", STUDY_ID, REPORT_NAME)
    query = parse_qs(urlsplit(link.url).query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    signed = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    dies = signed + timedelta(seconds=int(query["X-Amz-Expires"][0]))
    assert dies - timedelta(seconds=1) <= link.expires_at <= dies


def test_the_fakes_links_die_too() -> None:
    times = [now()]
    fake = InMemoryDocumentStore(lambda: times[-1])
    fake.put("acme", STUDY_ID, REPORT_NAME, PDF)
    link = fake.link("acme", STUDY_ID, REPORT_NAME)
    assert fake.fetch(link.url) == PDF
    times.append(link.expires_at)
    assert fake.fetch(link.url) is None


def test_a_missing_bucket_is_storage_unavailable_and_tells_nothing(
    s3: S3Client, caplog: pytest.LogCaptureFixture
) -> None:
    store = S3DocumentStore(lambda _client: s3, "radgate-no-such-bucket", now)
    with pytest.raises(StorageUnavailable) as failed:
        store.put("acme", STUDY_ID, REPORT_NAME, PDF)
    assert_nothing_leaks(failed.value, caplog.text)
    assert "NoSuchBucket" in caplog.text
    with pytest.raises(StorageUnavailable):
        store.delete("acme", STUDY_ID, REPORT_NAME)


def test_an_unreachable_endpoint_is_storage_unavailable_and_tells_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    once = Config(signature_version="s3v4", connect_timeout=1, retries={"total_max_attempts": 1})
    # Port 9 is "discard": nothing answers there.
    client = boto3.client(
        "s3", region_name="us-east-1", endpoint_url="http://127.0.0.1:9", config=once
    )
    started = time.monotonic()
    with pytest.raises(StorageUnavailable) as failed:
        S3DocumentStore(lambda _client: client, BUCKET, now).put("acme", STUDY_ID, REPORT_NAME, PDF)
    assert time.monotonic() - started < 5
    assert_nothing_leaks(failed.value, caplog.text)


def test_no_credentials_to_sign_with_is_storage_unavailable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/none")
    client = boto3.session.Session().client(
        "s3", region_name="us-east-1", config=Config(signature_version="s3v4")
    )
    with pytest.raises(StorageUnavailable):
        S3DocumentStore(lambda _client: client, BUCKET, now).link("acme", STUDY_ID, REPORT_NAME)


def assert_nothing_leaks(error: StorageUnavailable, log: str) -> None:
    assert error.__cause__ is None
    assert error.__suppress_context__
    for text in (error.detail, log):
        for secret in ("acme", STUDY_ID, "radgate-", "127.0.0.1", "%PDF"):
            assert secret not in text
