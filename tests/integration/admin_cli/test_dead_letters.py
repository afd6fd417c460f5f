"""Dead letters listed and redriven by the command line, over moto."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

from admin_cli.deploying.deployment_record import Deployment, write_deployment
from admin_cli.foundation import apply_foundation
from admin_cli.queue import dead_letters
from admin_cli.queue.dead_letters import open_dead_letters
from admin_cli.stage import Stage
from chalicelib import aws
from chalicelib.domain import Job, Message, Study, StudyStatus, new_id
from chalicelib.errors import StorageUnavailable
from chalicelib.problems import defect_problem
from chalicelib.tenants import records
from chalicelib.tenants.audit import Trail
from chalicelib.tenants.erasure import DynamoErasure
from chalicelib.tenants.intake import DynamoIntake
from chalicelib.tenants.jobs import DynamoJobStore
from chalicelib.tenants.ledger import DynamoLedger
from chalicelib.tenants.studies import DynamoStudyStore
from tests.fakes.values import a_caller, a_client, a_plan
from tests.integration.admin_cli.commands.conftest import Radgate
from tests.integration.admin_cli.conftest import make_api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb.service_resource import Table

    from admin_cli.foundation import Foundation
    from chalicelib.ports import Clock
    from chalicelib.tenants.audit import AuditEntry, Change

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse")
CLIENT = a_client(plan=a_plan(studies=3))


@dataclass
class Place:
    """Stage `dev` with one client, and studies that failed there."""

    foundation: Foundation
    radgate: Radgate

    @property
    def bucket(self) -> str:
        return self.foundation.BucketName

    def fail(
        self, *, error: dict[str, str | int | list[str]] | None = None, letters: int = 1
    ) -> str:
        """Make a study that failed through our fault, with so many dead letters."""
        table, clock = aws.table(self.foundation.TableName), Stage.clock
        study = Study(id=new_id("st"), status=StudyStatus.QUEUED, created_at=clock())
        job = Job(
            study_id=study.id,
            client_id="acme",
            mode="live",
            object_name=f"uploads/acme/{study.id}-secret",
            created_at=clock(),
            metered_at=clock(),
        )
        aws.s3().put_object(Bucket=self.bucket, Key=job.object_name, Body=b"an image")
        DynamoIntake(table, clock).enqueue(a_caller(CLIENT), study, job)
        jobs = DynamoJobStore(table, clock)
        leased = jobs.begin("acme", study.id)
        assert leased
        problem = error or defect_problem().document("request 1")
        failed = study.model_copy(
            update={"status": StudyStatus.FAILED, "completed_at": clock(), "error": problem}
        )
        assert jobs.fail(leased, failed)
        for _ in range(letters):
            self.post(Message(client_id="acme", study_id=study.id).model_dump_json())
        return study.id

    def post(self, body: str) -> None:
        aws.sqs().send_message(QueueUrl=self.foundation.DeadLetterQueueUrl, MessageBody=body)

    def studies(self) -> list[Study]:
        store = DynamoStudyStore(aws.table(self.foundation.TableName), Stage.clock)
        return list(store.page("acme", 100, None, None).items)

    def used(self) -> int:
        ledger = DynamoLedger(aws.table(self.foundation.TableName), Stage.clock)
        return ledger.usage(CLIENT).used

    def noted(self, study_id: str) -> list[dict[str, Any]]:
        """Return what the audit trail has of a study, the newest first."""
        entries: list[dict[str, Any]] = self.radgate.json("audit", "log")
        return [one for one in entries if one["subject"] == study_id]

    def letters(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.radgate.json("studies", "dlq", "list")
        return found

    def objects(self) -> list[str]:
        listed = aws.s3().list_objects_v2(Bucket=self.bucket, Prefix="uploads/")
        return [str(one.get("Key")) for one in listed.get("Contents", [])]

    def queued(self) -> list[str]:
        answer = aws.sqs().receive_message(
            QueueUrl=self.foundation.BulkQueueUrl, MaxNumberOfMessages=10
        )
        bodies = [str(one.get("Body")) for one in answer.get("Messages", [])]
        return [Message.model_validate_json(body).study_id for body in bodies]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Place]:
    caches = (aws.table, aws.sqs, aws.s3)
    with mock_aws():
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
        for cached in caches:
            cached.cache_clear()
        foundation = apply_foundation("dev")
        _, api = make_api()
        deployment = Deployment(api, "v1", "https://api.example", "", "", "", "")
        write_deployment(foundation.TableName, deployment)
        aws.table(foundation.TableName).put_item(Item=records.client_item(CLIENT))
        yield Place(foundation, Radgate(capsys))
        for cached in caches:
            cached.cache_clear()


def test_letters_are_listed_once_for_each_study_and_stay(place: Place) -> None:
    assert place.letters() == []
    study_id = place.fail(letters=2)
    place.post("no message of ours")
    for _ in range(2):  # reading them hides them from nobody
        unreadable, letter = place.letters()
        assert (letter["study"], letter["client"]) == (study_id, "acme")
        assert (letter["attempts"], letter["why"]) == (1, "internal_error")
        assert letter["at"]
        assert unreadable["why"] == "the message cannot be read"
    table = place.radgate("studies", "dlq", "list").stdout
    assert study_id in table
    assert "internal_error" in table


def test_a_failed_study_is_queued_anew_as_another(place: Place) -> None:
    study_id = place.fail(letters=2)
    assert place.used() == 0
    [done] = place.radgate.json("studies", "dlq", "redrive", study_id)
    assert (done["study"], done["told"]) == (study_id, "queued anew")
    new, old = place.studies()
    assert (new.id, new.status) == (done["queued"], StudyStatus.QUEUED)
    assert (old.id, old.status) == (study_id, StudyStatus.FAILED)
    assert place.used() == 1
    assert place.queued() == [new.id]
    assert place.letters() == []
    [name] = place.objects()  # a copy of its own: the old one's is gone
    assert study_id not in name
    [entry] = place.noted(study_id)
    assert (entry["action"], entry["after"]) == ("study.redrive", {"queued": new.id})


def test_what_was_queued_anew_and_erased_is_not_queued_again(place: Place) -> None:
    study_id = place.fail()
    [done] = place.radgate.json("studies", "dlq", "redrive", study_id)
    table = aws.table(place.foundation.TableName)
    DynamoErasure(table, Stage.clock).begin("acme", done["queued"])
    place.post(Message(client_id="acme", study_id=study_id).model_dump_json())
    [again] = place.radgate.json("studies", "dlq", "redrive", "--all")
    assert (again["queued"], "erased" in again["told"]) == (None, True)
    assert (place.letters(), len(place.studies())) == ([], 2)


def test_all_letters_at_once_as_far_as_the_quota_goes(place: Place) -> None:
    wanted = {place.fail() for _ in range(4)}
    done = place.radgate.json("studies", "dlq", "redrive", "--all")
    assert {one["study"] for one in done} == wanted
    [refused] = [one for one in done if one["queued"] is None]
    assert "All 3 studies of this month are used up" in refused["told"]
    [left] = place.letters()
    assert left["study"] == refused["study"]
    assert len(place.objects()) == 4  # three copies and the one that is left
    assert place.used() == 3
    withdrawn, noted = place.noted(refused["study"])  # newest first
    assert (noted["before"], withdrawn["after"]) == (None, None)
    assert withdrawn["before"] == noted["after"]


def test_bytes_that_are_gone_are_told_and_the_letter_stays(place: Place) -> None:
    study_id = place.fail()
    aws.s3().delete_object(Bucket=place.bucket, Key=place.objects()[0])
    ended = place.radgate("studies", "dlq", "redrive", study_id)
    assert ended.status == 1
    assert "its bytes are gone" in ended.stderr
    assert len(place.letters()) == 1
    assert place.used() == 0


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_run_that_dies_is_finished_by_the_next(place: Place, times: int) -> None:
    """At the message, at the letter, or before the old bytes are erased."""
    study_id = place.fail()
    letters = open_dead_letters("dev")
    client: Any = Breaking(letters.sqs, letters.s3, times)
    broken = dead_letters.DeadLetters(letters.stage, client, client)
    with pytest.raises((KeyboardInterrupt, StorageUnavailable)):
        broken.redrive(study_id)
    place.radgate.json("studies", "dlq", "redrive", study_id)
    queued = [one for one in place.studies() if one.status is StudyStatus.QUEUED]
    assert len(queued) == 1
    assert place.used() == 1
    assert set(place.queued()) == {queued[0].id}
    assert place.letters() == []


@pytest.mark.parametrize("after", [False, True])
def test_no_study_is_queued_that_the_trail_does_not_know(place: Place, *, after: bool) -> None:
    """Killed at the entry, or between the entry and the study."""
    study_id = place.fail()
    letters = open_dead_letters("dev")
    trail = DyingTrail(letters.stage.table, Stage.clock, after=after)
    stage = replace(letters.stage, trail=trail)
    with pytest.raises(KeyboardInterrupt):
        dead_letters.DeadLetters(stage, letters.sqs, letters.s3).redrive(study_id)
    assert [one.id for one in place.studies()] == [study_id]
    assert len(place.noted(study_id)) == after
    [done] = place.radgate.json("studies", "dlq", "redrive", study_id)
    assert place.noted(study_id)[0]["after"] == {"queued": done["queued"]}
    assert place.queued() == [done["queued"]]
    assert place.used() == 1


def test_a_study_that_is_erased_while_it_is_queued_anew_does_not_come_back(place: Place) -> None:
    """Its bytes are copied already, and the trail has its entry."""
    study_id = place.fail()
    letters = open_dead_letters("dev")
    stage, copies = letters.stage, list[str]()

    class Erasing(Trail):
        def commit(self, plan: Callable[[], Change | None]) -> AuditEntry | None:
            if [one.status for one in place.studies()] == [StudyStatus.FAILED]:
                copies.extend(place.objects())
                erasure = DynamoErasure(stage.table, Stage.clock)
                erasure.end(erasure.begin("acme", study_id))
            return super().commit(plan)

    trail = Erasing(stage.table, lambda: "local:tester", Stage.clock)
    erased_under = replace(stage, trail=trail)
    [done] = dead_letters.DeadLetters(erased_under, letters.sqs, letters.s3).redrive(study_id)
    assert (done.queued, "erased" in done.told) == (None, True)
    assert len(copies) == 2, "there were the bytes and their copy"
    assert [one.status for one in place.studies()] == [StudyStatus.DELETED]
    assert [name for name in place.objects() if study_id not in name] == []
    assert (place.queued(), place.letters(), place.used()) == ([], [], 0)
    assert place.noted(study_id)[0]["after"] is None


class DyingTrail(Trail):
    """The audit trail of a process that ends at its first entry: before it is written, or after."""

    def __init__(self, table: Table, clock: Clock, *, after: bool) -> None:
        super().__init__(table, lambda: "local:tester", clock)
        self._after = after

    def commit(self, plan: Callable[[], Change | None]) -> AuditEntry | None:
        if self._after:
            super().commit(plan)
        raise KeyboardInterrupt


class Breaking:
    """SQS and S3 in one, dying at the call of a number among those that change something."""

    CHANGES = ("send_message", "delete_object", "delete_message")

    def __init__(self, sqs: object, s3: object, dies_at: int) -> None:
        self._targets = (sqs, s3)
        self._left = dies_at

    def __getattr__(self, name: str) -> Any:
        if name in self.CHANGES:
            self._left -= 1
            if self._left == 0:
                raise KeyboardInterrupt
        return next(getattr(one, name) for one in self._targets if hasattr(one, name))


@pytest.mark.parametrize("status", [StudyStatus.SUCCEEDED, StudyStatus.DELETED])
def test_a_letter_that_nobody_needs_goes(place: Place, status: StudyStatus) -> None:
    study_id = place.fail()
    [study] = place.studies()
    changed = study.model_copy(update={"status": status, "error": None})
    table = aws.table(place.foundation.TableName)
    table.put_item(Item=records.study_item("acme", changed))
    place.post("no message of ours")
    done = place.radgate.json("studies", "dlq", "redrive", "--all")
    assert {one["told"] for one in done} == {
        f"nothing to do: the study is {status}",
        "the message cannot be read",
    }
    assert all(one["queued"] is None for one in done)
    assert place.letters() == []
    assert {one["study"] for one in done} == {study_id, ""}


def test_what_is_not_there_or_not_meant_is_refused(place: Place) -> None:
    ended = place.radgate("studies", "dlq", "redrive", new_id("st"))
    assert (ended.status, ended.stdout) == (1, "")
    assert "there is no dead letter" in ended.stderr
    assert place.radgate("studies", "dlq", "redrive").status == 2
    assert place.radgate("studies", "dlq", "redrive", new_id("st"), "--all").status == 2
