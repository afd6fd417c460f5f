"""What takes studies in and what erases them: on the fakes and on DynamoDB."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.domain import Idempotency, Job, Study, StudyStatus, Upload, new_id
from chalicelib.tenants.erasure import DynamoErasure
from chalicelib.tenants.intake import DynamoIntake
from chalicelib.tenants.jobs import DynamoJobStore
from chalicelib.tenants.ledger import DynamoLedger
from chalicelib.tenants.studies import DynamoStudyStore
from chalicelib.tenants.uploads import DynamoSpentUploads
from tests.fakes.clock import FixedClock
from tests.fakes.intake import FakeErasure, FakeIntake
from tests.fakes.jobs import FakeJobStore
from tests.fakes.tenants import FakeLedger, FakeStudyStore
from tests.fakes.values import NOON, a_caller, a_study

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.domain import Caller
    from chalicelib.ports import Erasure, Intake, JobStore, Ledger, SpentUploads, StudyStore


@dataclass
class Stores:
    """Everything that a queued study touches."""

    intake: Intake
    erasure: Erasure
    jobs: JobStore
    studies: StudyStore
    ledger: Ledger
    spent: SpentUploads
    clock: FixedClock

    def enqueue(self, caller: Caller | None = None, **asked: Any) -> Study:
        """Queue a fresh study and return the one that stands."""
        caller = caller or a_caller()
        study = a_queued_study(created_at=self.clock(), mode=caller.key.mode)
        return self.intake.enqueue(caller, study, a_job(caller, study), **asked)

    def used(self, caller: Caller | None = None) -> int:
        return self.ledger.usage((caller or a_caller()).client).used

    def stored(self) -> int:
        return len(self.studies.page("acme", 100, None, None).items)

    def stuck(self) -> list[str]:
        return [job.study_id for job in self.jobs.stuck(self.clock() + timedelta(days=999))]


def stores_on(table: Table, clock: FixedClock) -> Stores:
    return Stores(
        DynamoIntake(table, clock),
        DynamoErasure(table, clock),
        DynamoJobStore(table, clock),
        DynamoStudyStore(table, clock),
        DynamoLedger(table, clock),
        DynamoSpentUploads(table),
        clock,
    )


@pytest.fixture(params=["fake", "dynamodb"])
def stores(request: pytest.FixtureRequest) -> Stores:
    clock = FixedClock(NOON)
    if request.param == "dynamodb":
        return stores_on(request.getfixturevalue("table"), clock)
    ledger = FakeLedger(clock)
    studies = FakeStudyStore(ledger)
    jobs = FakeJobStore(studies, ledger, clock)
    intake = FakeIntake(studies, ledger, jobs, clock)
    return Stores(
        intake,
        FakeErasure(studies, jobs, clock),
        jobs,
        studies,
        ledger,
        intake.spent,
        clock,
    )


def a_queued_study(**fields: Any) -> Study:
    nothing = {"completed_at": None, "label": None, "findings": (), "model": None}
    nothing |= {"image": None, "quality": None}
    return a_study(status=StudyStatus.QUEUED, **nothing | fields)


def a_job(caller: Caller, study: Study) -> Job:
    return Job(
        study_id=study.id,
        client_id=caller.client.id,
        mode=study.mode,
        object_name=f"uploads/{caller.client.id}/{study.id}-f00d",
        created_at=study.created_at,
        metered_at=study.created_at if study.mode == "live" else None,
    )


def an_upload(client_id: str = "acme", **fields: Any) -> Upload:
    upload_id = new_id("up")
    defaults = {
        "id": upload_id,
        "client_id": client_id,
        "object_name": f"uploads/{client_id}/{upload_id}-f00d",
        "size": 9,
        "content_type": "application/dicom",
        "created_at": NOON,
        "expires_at": NOON + timedelta(hours=24),
    }
    return Upload.model_validate(defaults | fields)


def a_word(key: str = "once", request: str = "a") -> Idempotency:
    return Idempotency(key=key, fingerprint=request * 64)
