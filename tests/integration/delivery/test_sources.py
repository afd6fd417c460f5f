"""One contract for the fake store of posted bytes and for S3, and what S3 is asked to enforce."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import pytest
import requests
from botocore.awsrequest import AWSResponse, HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError

from chalicelib.delivery.sources import S3SourceStore
from chalicelib.domain import MAX_UPLOAD_BYTES, Upload, UploadForm, new_id
from chalicelib.errors import NotFound, PayloadTooLarge, StorageUnavailable
from tests.fakes.intake import InMemorySourceStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.awsrequest import AWSPreparedRequest
    from mypy_boto3_s3 import S3Client

    from chalicelib.ports import SourceStore

BUCKET = "radgate-test-sources"
NAME = "uploads/acme/st_01JD8Z5M3Q4R6S7T8V9W0XYZAB-00112233445566778899aabbccddeeff"
STUDY, OTHER_STUDY = "st_01JD8Z5M3Q4R6S7T8V9W0XYZAB", "st_01JD8Z5M3Q4R6S7T8V9W0XYZAC"
IMAGE = b"\x89PNG an image"


class Subject(NamedTuple):
    store: SourceStore
    post: Callable[[UploadForm, bytes], bool]


def now() -> datetime:
    return datetime.now(UTC)


def over_http(form: UploadForm, body: bytes) -> bool:
    # A client's own file name must not matter; `file` comes last, as S3 wants it.
    files = {"file": ("Doe^Jane.dcm", body)}
    return requests.post(form.url, data=form.fields, files=files, timeout=5).ok


@pytest.fixture
def s3(account: None) -> S3Client:
    del account
    client = boto3.client(
        "s3",
        region_name="us-east-1",
        config=Config(signature_version="s3v4", retries={"total_max_attempts": 1}),
    )
    client.create_bucket(Bucket=BUCKET)
    return client


def store_on(s3: S3Client, bucket: str = BUCKET) -> S3SourceStore:
    return S3SourceStore(lambda _client: s3, bucket, now)


@pytest.fixture(params=["fake", "s3"])
def subject(request: pytest.FixtureRequest, s3: S3Client) -> Subject:
    if request.param == "fake":
        fake = InMemorySourceStore(now)
        return Subject(fake, fake.post)
    return Subject(store_on(s3), over_http)


def an_upload(size: int = len(IMAGE)) -> Upload:
    upload_id = new_id("up")
    return Upload(
        id=upload_id,
        client_id="acme",
        object_name=f"uploads/acme/{upload_id}-00112233445566778899aabbccddeeff",
        size=size,
        content_type="application/dicom",
        created_at=now(),
        expires_at=now() + timedelta(hours=24),
    )


def test_stored_bytes_come_back(subject: Subject) -> None:
    subject.store.put(NAME, IMAGE)
    assert subject.store.get(NAME) == IMAGE
    assert subject.store.size(NAME) == len(IMAGE)


def test_what_is_not_there_has_no_size_and_is_not_found(subject: Subject) -> None:
    subject.store.put(f"{NAME}0", IMAGE)  # of which the name is a beginning
    assert subject.store.size(NAME) is None
    with pytest.raises(NotFound):
        subject.store.get(NAME)


def test_deleted_bytes_are_gone_and_deleting_again_is_no_error(subject: Subject) -> None:
    subject.store.put(NAME, IMAGE)
    subject.store.put(f"{NAME}0", IMAGE)  # of which the name is a beginning
    for _ in range(2):
        subject.store.delete(NAME)
    assert subject.store.size(NAME) is None
    assert subject.store.size(f"{NAME}0") == len(IMAGE)


def test_what_was_posted_lies_under_the_uploads_name(subject: Subject) -> None:
    upload = an_upload()
    form = subject.store.form(upload)
    assert subject.store.size(upload.object_name) is None
    assert subject.post(form, IMAGE)
    assert subject.store.size(upload.object_name) == len(IMAGE)
    assert subject.store.get(upload.object_name) == IMAGE


def test_what_is_taken_stays_whatever_the_form_takes_later(subject: Subject) -> None:
    upload = an_upload()
    form = subject.store.form(upload)
    assert subject.store.take(upload.object_name, STUDY) is None
    assert subject.post(form, IMAGE)
    taken = subject.store.take(upload.object_name, STUDY)
    assert taken is not None
    assert subject.post(form, IMAGE[::-1])
    assert subject.store.get(taken) == IMAGE
    # Another study of it, as two requests at once try, does not touch the first one's bytes.
    other = subject.store.take(upload.object_name, OTHER_STUDY)
    assert other is not None
    assert (subject.store.get(taken), subject.store.get(other)) == (IMAGE, IMAGE[::-1])
    subject.store.drop(other)
    assert subject.store.size(upload.object_name) == len(IMAGE)
    # One that died before its study stood leaves what it took.
    assert subject.store.take(upload.object_name, OTHER_STUDY) == other
    for _ in range(2):
        subject.store.delete(taken)
    assert [subject.store.size(one) for one in (taken, other, upload.object_name)] == [None] * 3


def test_a_form_names_its_upload_its_limit_and_its_end(subject: Subject) -> None:
    upload, before = an_upload(), now()
    form = subject.store.form(upload)
    assert (form.upload_id, form.max_bytes) == (upload.id, len(IMAGE))
    life = timedelta(minutes=15)
    assert before + life - timedelta(seconds=1) < form.expires_at <= now() + life


# --- what only S3 can show --------------------------------------------------------------


def test_the_policy_binds_bucket_name_type_and_size(s3: S3Client) -> None:
    upload = an_upload(size=7_200_000)
    form = store_on(s3).form(upload)
    policy = json.loads(base64.b64decode(form.fields["policy"]))
    conditions = policy["conditions"]
    assert ["content-length-range", 1, 7_200_000] in conditions
    exact = {k: v for one in conditions if isinstance(one, dict) for k, v in one.items()}
    assert exact["bucket"] == BUCKET
    assert exact["key"] == upload.object_name == form.fields["key"]
    assert exact["Content-Type"] == "application/dicom" == form.fields["Content-Type"]
    assert exact["x-amz-algorithm"] == "AWS4-HMAC-SHA256"
    # Nothing is left open: no prefix, no field of the poster's choice.
    assert not [one for one in conditions if isinstance(one, list) and one[0] == "starts-with"]
    ends = datetime.fromisoformat(policy["expiration"])
    assert timedelta(0) <= ends - form.expires_at <= timedelta(seconds=1)


def test_stored_bytes_take_the_buckets_encryption_and_are_of_no_type(s3: S3Client) -> None:
    s3.put_bucket_encryption(
        Bucket=BUCKET,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]
        },
    )
    store_on(s3).put(NAME, IMAGE)
    kept = s3.head_object(Bucket=BUCKET, Key=NAME)
    assert kept["ServerSideEncryption"] == "aws:kms"
    assert kept["ContentType"] == "application/octet-stream"


def test_every_call_goes_out_in_the_name_of_the_bytes_owner(s3: S3Client) -> None:
    asked = list[str]()

    def session(client_id: str) -> S3Client:
        asked.append(client_id)
        return s3

    store = S3SourceStore(session, BUCKET, now)
    store.put(NAME, IMAGE)
    store.get(NAME)
    store.size(NAME)
    store.delete(NAME)
    store.form(an_upload())
    store.take(NAME, STUDY)
    assert asked == ["acme"] * 7  # the last finds nothing, and looks whether that is so


class Watched(BytesIO):
    """A body that knows how much of it was read."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


@pytest.mark.parametrize("size", [MAX_UPLOAD_BYTES + 1, MAX_UPLOAD_BYTES])
def test_more_than_the_cap_is_refused_before_it_is_read(s3: S3Client, size: int) -> None:
    body = Watched(bytes(size))

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """Answer as S3 does; moto takes seconds to store so much."""
        return AWSResponse(
            request.url, 200, HTTPHeaders.from_dict({"Content-Length": str(size)}), body
        )

    events: Any = s3.meta.events
    events.register_first("before-send.s3.GetObject", answer)
    if size > MAX_UPLOAD_BYTES:
        with pytest.raises(PayloadTooLarge):
            store_on(s3).get(NAME)
        assert body.taken == 0
    else:
        assert len(store_on(s3).get(NAME)) == size


def refuse(s3: S3Client, operation: str, code: str) -> None:
    """Let S3 answer one kind of call with an error."""

    def fail(**_: object) -> None:
        raise ClientError({"Error": {"Code": code, "Message": f"denied: {NAME}"}}, operation)

    s3.meta.events.register_first(f"before-send.s3.{operation}", fail)


def test_absent_bytes_are_told_from_bytes_that_may_not_be_read(s3: S3Client) -> None:
    """Without a right to list, S3 answers "denied" for both."""
    refuse(s3, "GetObject", "AccessDenied")
    with pytest.raises(NotFound):
        store_on(s3).get(NAME)
    store_on(s3).put(NAME, IMAGE)
    with pytest.raises(StorageUnavailable):
        store_on(s3).get(NAME)


def test_a_missing_bucket_is_storage_unavailable_and_tells_nothing(
    s3: S3Client, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_on(s3, "radgate-no-such-bucket")
    for action in (
        lambda: store.put(NAME, IMAGE),
        lambda: store.get(NAME),
        lambda: store.size(NAME),
        lambda: store.delete(NAME),
        lambda: store.take(NAME, STUDY),
    ):
        with pytest.raises(StorageUnavailable) as failed:
            action()
        assert failed.value.__suppress_context__
        for secret in ("acme", "0011", "radgate-", "PNG"):
            assert secret not in failed.value.detail + caplog.text
    assert "NoSuchBucket" in caplog.text
