"""One job store after the other: on fakes and on DynamoDB, with all that it works on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import pytest

from chalicelib.domain import Delivery, Job, StudyStatus, new_id
from chalicelib.tenants.erasure import DynamoErasure
from chalicelib.tenants.intake import DynamoIntake
from chalicelib.tenants.jobs import DynamoJobStore
from chalicelib.tenants.ledger import DynamoLedger
from chalicelib.tenants.studies import DynamoStudyStore
from tests.fakes.clock import FixedClock
from tests.fakes.jobs import FakeJobStore
from tests.fakes.tenants import FakeLedger, FakeStudyStore
from tests.fakes.values import NOON, a_caller, a_client, a_study

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.domain import Caller, Study
    from chalicelib.ports import JobStore, Ledger, StudyStore

QUEUED = {"status": StudyStatus.QUEUED, "completed_at": None, "label": None, "findings": ()}
# The age of a job is read from its id, which is made by the real clock.
EVER = NOON + timedelta(days=36500)
NOTHING_YET = {"model": None, "image": None, "quality": None}


class Enqueue(Protocol):
    def __call__(self, caller: Caller, study: Study, job: Job) -> None: ...


class Erase(Protocol):
    def __call__(self, study: Study) -> None: ...


@dataclass
class Queue:
    """A job store with the way in and the way out."""

    jobs: JobStore
    studies: StudyStore
    ledger: Ledger
    clock: FixedClock
    put: Enqueue
    erase: Erase

    def enqueue(self, caller: Caller | None = None) -> Job:
        caller = caller or a_caller()
        now = self.clock()
        study = a_study(**QUEUED, **NOTHING_YET, created_at=now, mode=caller.key.mode)
        job = Job(
            study_id=study.id,
            client_id=caller.client.id,
            mode=caller.key.mode,
            object_name=f"uploads/acme/{study.id}",
            created_at=now,
            metered_at=now if caller.key.mode == "live" else None,
            request_id="request 1",
        )
        self.put(caller, study, job)
        return job

    def begin(self, job: Job) -> Job:
        leased = self.jobs.begin(job.client_id, job.study_id)
        assert leased is not None
        return leased

    def study(self, job: Job) -> Study:
        return self.studies.get(job.client_id, job.study_id)

    def used(self) -> int:
        return self.ledger.usage(a_client()).used

    def result(self, job: Job, status: StudyStatus = StudyStatus.SUCCEEDED) -> Study:
        done = a_study(id=job.study_id, created_at=job.created_at, mode=job.mode)
        return done.model_copy(update={"status": status})


def on_fakes() -> Queue:
    clock = FixedClock(NOON)
    ledger = FakeLedger(clock)
    studies = FakeStudyStore(ledger)
    jobs = FakeJobStore(studies, ledger, clock)

    def put(caller: Caller, study: Study, job: Job) -> None:
        if job.metered_at is not None:
            ledger.meter(caller.client, job.metered_at)
            period = ledger.usage(caller.client).period_start
            job = job.model_copy(update={"metered_period": period})
        studies.place(caller.client.id, study)
        jobs.jobs[study.id] = job

    def erase(study: Study) -> None:
        studies.place("acme", study.model_copy(update={"status": StudyStatus.DELETED}))
        if study.id in jobs.jobs:
            jobs.jobs[study.id] = jobs.jobs[study.id].model_copy(update={"lease": None})

    return Queue(jobs, studies, ledger, clock, put, erase)


def on_dynamodb(table: Table) -> Queue:
    clock = FixedClock(NOON)
    intake = DynamoIntake(table, clock)
    erasure = DynamoErasure(table, clock)

    def put(caller: Caller, study: Study, job: Job) -> None:
        intake.enqueue(caller, study, job)

    def erase(study: Study) -> None:
        erasure.begin("acme", study.id)

    return Queue(
        DynamoJobStore(table, clock),
        DynamoStudyStore(table, clock),
        DynamoLedger(table, clock),
        clock,
        put,
        erase,
    )


@pytest.fixture(params=["fake", "dynamodb"])
def queue(request: pytest.FixtureRequest) -> Queue:
    if request.param == "fake":
        return on_fakes()
    return on_dynamodb(request.getfixturevalue("table"))


def a_delivery(job: Job, channel: str = "mail") -> Delivery:
    return Delivery.model_validate(
        {
            "id": new_id("evt"),
            "client_id": job.client_id,
            "channel": channel,
            "kind": "study.succeeded",
            "study_id": job.study_id,
            "created_at": NOON,
            "next_at": NOON,
        }
    )
