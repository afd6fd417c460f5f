"""Which studies have documents, as S3 and the fake tell it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws
from ulid import ULID

from chalicelib.domain import REPORT_NAME
from chalicelib.errors import NotFound, StorageUnavailable
from chalicelib.reports.folders import PAGE, S3StudyFolders
from chalicelib.reports.store import S3DocumentStore
from tests.fakes.clock import FixedClock
from tests.fakes.operations import FakeStudyFolders
from tests.fakes.reports import InMemoryDocumentStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chalicelib.ports import DocumentStore, StudyFolders

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
BUCKET = "radgate-test"


@dataclass
class Shelves:
    """Documents, and who knows which studies have some."""

    documents: DocumentStore
    folders: StudyFolders
    s3: Any = None

    def keep(self, at: datetime, client_id: str = "acme") -> str:
        study_id = f"st_{ULID.from_datetime(at)}"
        for name in (REPORT_NAME, "heatmap-cardiomegaly.png"):
            self.documents.put(client_id, study_id, name, b"content")
        return study_id

    def old(self, before: datetime, client_id: str = "acme") -> list[str]:
        return list(self.folders.old(client_id, before))


@pytest.fixture
def on_s3() -> Iterator[Shelves]:
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket=BUCKET)
        documents = S3DocumentStore(lambda _id: s3, BUCKET, FixedClock(BEGAN))
        yield Shelves(documents, S3StudyFolders(lambda _id: s3, BUCKET), s3)


@pytest.fixture(params=["fake", "s3"])
def shelves(request: pytest.FixtureRequest) -> Shelves:
    if request.param == "s3":
        found: Shelves = request.getfixturevalue("on_s3")
        return found
    documents = InMemoryDocumentStore(FixedClock(BEGAN))
    return Shelves(documents, FakeStudyFolders(documents))


def test_old_folders_come_once_each_and_oldest_first(shelves: Shelves) -> None:
    days = [shelves.keep(BEGAN + timedelta(days=day)) for day in (2, 0, 1, 3)]
    shelves.keep(BEGAN, "other")
    bound = BEGAN + timedelta(days=3)
    assert shelves.old(bound) == [days[1], days[2], days[0]]
    assert shelves.old(BEGAN) == []
    assert shelves.old(bound, "nobody") == []


def test_more_than_a_page_is_read_while_it_is_erased(shelves: Shelves) -> None:
    kept = [shelves.keep(BEGAN + timedelta(minutes=minute)) for minute in range(PAGE + 5)]
    found = []
    for study_id in shelves.folders.old("acme", BEGAN + timedelta(days=1)):
        shelves.documents.delete_all("acme", study_id)
        found.append(study_id)
    assert found == kept


def test_nothing_of_younger_ones_is_read(on_s3: Shelves) -> None:
    for minute in range(2 * PAGE + 5):
        study_id = f"st_{ULID.from_datetime(BEGAN + timedelta(minutes=minute))}"
        on_s3.s3.put_object(Bucket=BUCKET, Key=f"clients/acme/studies/{study_id}/x")
    listed: list[str] = []
    on_s3.s3.meta.events.register("before-call.*", lambda model, **_: listed.append(model.name))
    assert len(on_s3.old(BEGAN + timedelta(minutes=3))) == 3
    assert listed == ["ListObjectsV2"]


def test_what_is_no_study_is_none_of_ours(on_s3: Shelves) -> None:
    on_s3.s3.put_object(Bucket=BUCKET, Key="clients/acme/studies/notes/x")
    on_s3.s3.put_object(Bucket=BUCKET, Key="clients/acme/studies/st_0/x")
    old = on_s3.keep(BEGAN)
    assert on_s3.old(BEGAN + timedelta(days=1)) == [old]


@pytest.mark.parametrize("nobody", ["", "a/b", "../acme"])
def test_what_is_no_client_has_no_folders(on_s3: Shelves, nobody: str) -> None:
    with pytest.raises(NotFound):
        on_s3.old(BEGAN, nobody)


def test_a_storage_that_does_not_answer_is_ours_to_tell_and_names_nothing() -> None:
    s3 = boto3.client(
        "s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    with Stubber(s3) as stubber:
        stubber.add_client_error("list_objects_v2", "SlowDown", "clients/acme/studies/")
        with pytest.raises(StorageUnavailable) as caught:
            list(S3StudyFolders(lambda _id: s3, BUCKET).old("acme", BEGAN))
    assert "acme" not in str(caught.value)
    assert caught.value.__suppress_context__
