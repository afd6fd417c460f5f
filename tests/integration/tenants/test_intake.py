"""One contract for what takes studies in and what erases them, on DynamoDB and on the fakes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from chalicelib.domain import Idempotency, Job, Study, StudyStatus, Upload, new_id
from chalicelib.errors import IdempotencyConflict, NotFound, QuotaExceeded
from chalicelib.tenants import records
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
from tests.fakes.values import NOON, a_caller, a_client, a_key, a_plan, a_study
from tests.integration.tenants.conftest import isolate_transactions, make_table

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


# --- uploads ----------------------------------------------------------------------------


def test_an_upload_is_remembered_for_its_client(stores: Stores) -> None:
    upload = an_upload()
    stores.intake.add_upload(upload)
    assert stores.intake.upload("acme", upload.id) == upload


@pytest.mark.parametrize("upload_id", ["", "up_", "up_01JD8Z5M3Q4R6S7T8V9W0XYZAB", "../x"])
def test_an_unknown_upload_is_not_there(stores: Stores, upload_id: str) -> None:
    with pytest.raises(NotFound):
        stores.intake.upload("acme", upload_id)


def test_anothers_upload_is_not_there(stores: Stores) -> None:
    upload = an_upload("other")
    stores.intake.add_upload(upload)
    with pytest.raises(NotFound):
        stores.intake.upload("acme", upload.id)
    with pytest.raises(NotFound):
        stores.enqueue(upload_id=upload.id)
    assert (stores.stored(), stores.used()) == (0, 0)


def test_an_upload_is_forgotten_when_its_time_is_over(stores: Stores) -> None:
    upload = an_upload()
    stores.intake.add_upload(upload)
    stores.clock.now = upload.expires_at
    with pytest.raises(NotFound):
        stores.intake.upload("acme", upload.id)


def test_an_upload_is_used_up_by_its_study(stores: Stores) -> None:
    upload = an_upload()
    stores.intake.add_upload(upload)
    stores.enqueue(upload_id=upload.id)
    with pytest.raises(NotFound):
        stores.intake.upload("acme", upload.id)
    with pytest.raises(NotFound):
        stores.enqueue(upload_id=upload.id)
    assert (stores.stored(), stores.used()) == (1, 1)


def test_an_upload_whose_study_was_made_is_known_until_it_is_forgotten(stores: Stores) -> None:
    used, waiting, after = an_upload(), an_upload(), NOON + timedelta(seconds=1)
    for upload in (used, waiting):
        stores.intake.add_upload(upload)
    stores.enqueue(upload_id=used.id)
    assert list(stores.spent.made_before(NOON - timedelta(seconds=1))) == []
    [found] = stores.spent.made_before(after)
    assert (found.client_id, found.id, found.object_name) == ("acme", used.id, used.object_name)
    for _ in range(2):
        stores.spent.forget(found)
    assert list(stores.spent.made_before(after)) == []
    assert stores.intake.upload("acme", waiting.id) == waiting


def test_a_refused_study_leaves_its_upload_usable(stores: Stores) -> None:
    caller, upload = a_caller(a_client(plan=a_plan(studies=1))), an_upload()
    stores.intake.add_upload(upload)
    stores.enqueue(caller)
    with pytest.raises(QuotaExceeded):
        stores.enqueue(caller, upload_id=upload.id)
    assert stores.intake.upload("acme", upload.id) == upload


# --- queueing ---------------------------------------------------------------------------


def test_a_queued_study_is_stored_metered_and_has_a_job(stores: Stores) -> None:
    study = stores.enqueue()
    assert stores.studies.get("acme", study.id) == study
    assert stores.used() == 1
    job = stores.jobs.begin("acme", study.id)
    assert job is not None
    assert (job.object_name, job.metered_at) == (f"uploads/acme/{study.id}-f00d", NOON)
    assert job.metered_period == NOON.replace(day=1, hour=0)


def test_a_queued_test_study_meters_nothing(stores: Stores) -> None:
    study = stores.enqueue(a_caller(key=a_key(mode="test")))
    assert (stores.stored(), stores.used()) == (1, 0)
    job = stores.jobs.begin("acme", study.id)
    assert job is not None
    assert (job.mode, job.metered_at) == ("test", None)


def test_without_a_unit_nothing_is_stored(stores: Stores) -> None:
    caller = a_caller(a_client(plan=a_plan(studies=1)))
    first = stores.enqueue(caller)
    with pytest.raises(QuotaExceeded) as refused:
        stores.enqueue(caller, idempotency=a_word())
    assert refused.value.retry_after == 12.5 * 24 * 3600  # from the 18th, noon, to the 1st
    assert (stores.stored(), stores.used(), stores.stuck()) == (1, 1, [first.id])
    assert stores.intake.known("acme", a_word()) is None


# --- idempotency ------------------------------------------------------------------------


def test_a_key_makes_one_study(stores: Stores) -> None:
    assert stores.intake.known("acme", a_word()) is None
    first = stores.enqueue(idempotency=a_word())
    assert stores.enqueue(idempotency=a_word()) == first
    assert stores.intake.known("acme", a_word()) == first
    assert (stores.stored(), stores.used(), stores.stuck()) == (1, 1, [first.id])


def test_a_key_is_good_for_the_last_unit_and_for_its_upload(stores: Stores) -> None:
    caller, upload = a_caller(a_client(plan=a_plan(studies=1))), an_upload()
    stores.intake.add_upload(upload)
    asked: dict[str, Any] = {"idempotency": a_word(), "upload_id": upload.id}
    assert stores.enqueue(caller, **asked) == stores.enqueue(caller, **asked)
    assert (stores.stored(), stores.used()) == (1, 1)


def test_a_key_for_another_request_is_a_conflict(stores: Stores) -> None:
    stores.enqueue(idempotency=a_word())
    other = a_word(request="b")
    with pytest.raises(IdempotencyConflict):
        stores.intake.known("acme", other)
    with pytest.raises(IdempotencyConflict):
        stores.enqueue(idempotency=other)
    assert (stores.stored(), stores.used()) == (1, 1)


def test_clients_do_not_share_keys(stores: Stores) -> None:
    stores.enqueue(idempotency=a_word())
    other = a_caller(a_client("other"))
    assert stores.intake.known("other", a_word()) is None
    stores.enqueue(other, idempotency=a_word())
    assert (stores.used(), stores.used(other)) == (1, 1)


def test_a_key_is_new_again_after_a_day(stores: Stores) -> None:
    first = stores.enqueue(idempotency=a_word())
    stores.clock.advance(24 * 3600 - 1)
    assert stores.enqueue(idempotency=a_word()) == first
    stores.clock.advance(1)
    assert stores.intake.known("acme", a_word()) is None
    assert stores.enqueue(idempotency=a_word(request="b")).id != first.id
    assert (stores.stored(), stores.used()) == (2, 2)


def test_a_key_follows_its_study(stores: Stores) -> None:
    study = stores.enqueue(idempotency=a_word())
    job = stores.jobs.begin("acme", study.id)
    assert job is not None
    done = a_study(id=study.id, created_at=study.created_at)
    assert stores.jobs.finish(job, done)
    assert stores.intake.known("acme", a_word()) == done


@pytest.mark.parametrize("state", ["queued", "running", "ended"])
def test_a_key_whose_study_was_erased_makes_none_and_tells_nothing(
    stores: Stores, state: str
) -> None:
    study = stores.enqueue(idempotency=a_word())
    if state != "queued":
        job = stores.jobs.begin("acme", study.id)
        assert job is not None
        if state == "ended":
            assert stores.jobs.finish(job, a_study(id=study.id, created_at=study.created_at))
    for _ in range(2):
        stores.erasure.end(stores.erasure.begin("acme", study.id))
    # Neither the same request nor another one is told from the other any more.
    for word in (a_word(), a_word(request="b")):
        with pytest.raises(IdempotencyConflict, match="erased"):
            stores.intake.known("acme", word)
        with pytest.raises(IdempotencyConflict, match="erased"):
            stores.enqueue(idempotency=word)
    assert (stores.stored(), stores.used()) == (1, 1)
    stores.clock.advance(24 * 3600)
    assert stores.enqueue(idempotency=a_word()).id != study.id


def test_a_key_makes_none_where_the_erasure_died_before_it_came_to_the_key(table: Table) -> None:
    stores = stores_on(table, FixedClock(NOON))
    study = stores.enqueue(idempotency=a_word())
    tombstone = Study(id=study.id, status=StudyStatus.DELETED, created_at=study.created_at)
    table.put_item(Item=records.study_item("acme", tombstone))
    for ask in (stores.intake.known, lambda _, word: stores.enqueue(idempotency=word)):
        with pytest.raises(IdempotencyConflict, match="erased"):
            ask("acme", a_word())
    # The sweeper calls again, and then the key tells nothing either.
    stores.erasure.begin("acme", study.id)
    with pytest.raises(IdempotencyConflict, match="erased"):
        stores.intake.known("acme", a_word(request="b"))


def test_an_erasure_leaves_a_key_that_is_another_study_s_by_now(stores: Stores) -> None:
    study = stores.enqueue(idempotency=a_word())
    stores.clock.advance(24 * 3600)
    later = stores.enqueue(idempotency=a_word())
    stores.erasure.begin("acme", study.id)
    assert stores.intake.known("acme", a_word()) == later


# --- erasure ----------------------------------------------------------------------------


def tombstone_of(study: Study) -> dict[str, Any]:
    return {
        "id": study.id,
        "status": "deleted",
        "created_at": study.created_at,
        "mode": study.mode,
    }


@pytest.mark.parametrize("mode", ["live", "test"])
def test_an_erased_study_keeps_its_id_time_and_mode(stores: Stores, mode: str) -> None:
    caller = a_caller(key=a_key(mode=mode))  # type: ignore[arg-type]
    study = a_study(mode=mode)
    stores.studies.add(caller, study)
    job = stores.erasure.begin("acme", study.id)
    assert (job.object_name, job.erased) == ("", True)
    left = stores.studies.get("acme", study.id)
    assert left.model_dump(exclude_defaults=True) | {"mode": left.mode} == tombstone_of(study)
    assert stores.used() == (1 if mode == "live" else 0)
    assert stores.stuck() == [study.id]
    stores.erasure.end(job)
    assert stores.stuck() == []


def test_a_queued_study_is_erased_and_never_begun(stores: Stores) -> None:
    study = stores.enqueue()
    job = stores.erasure.begin("acme", study.id)
    assert (job.object_name, job.erased) == (f"uploads/acme/{study.id}-f00d", True)
    [left] = stores.jobs.stuck(stores.clock() + timedelta(days=999))
    assert left == job
    assert stores.jobs.begin("acme", study.id) is None
    assert stores.jobs.waiting("acme", 9) == 0
    stores.erasure.end(job)
    assert (stores.stuck(), stores.used()) == ([], 1)


def test_a_worker_cannot_finish_an_erased_study(stores: Stores) -> None:
    study = stores.enqueue()
    working = stores.jobs.begin("acme", study.id)
    assert working is not None
    job = stores.erasure.begin("acme", study.id)
    done = a_study(id=study.id)
    assert not stores.jobs.finish(working, done)
    assert not stores.jobs.fail(working, done.model_copy(update={"status": StudyStatus.FAILED}))
    assert stores.studies.get("acme", study.id).status is StudyStatus.DELETED
    assert stores.used() == 1
    # It may still be storing documents: its job stays until that can no longer be.
    stores.erasure.end(job)
    assert stores.stuck() == []
    stores.clock.advance(200)
    assert stores.stuck() == [study.id]
    stores.erasure.end(stores.erasure.begin("acme", study.id))
    assert stores.stuck() == []


def test_a_finished_study_tells_where_its_bytes_lay(stores: Stores) -> None:
    study = stores.enqueue()
    working = stores.jobs.begin("acme", study.id)
    assert working is not None
    assert stores.jobs.finish(working, a_study(id=study.id))
    assert stores.erasure.begin("acme", study.id).object_name == working.object_name


def test_erasing_twice_is_no_error(stores: Stores) -> None:
    study = stores.enqueue()
    first = stores.erasure.begin("acme", study.id)
    assert stores.erasure.begin("acme", study.id) == first
    for _ in range(2):
        stores.erasure.end(first)
        stores.erasure.end(stores.erasure.begin("acme", study.id))
    assert stores.stuck() == []


def test_only_ones_own_study_can_be_erased(stores: Stores) -> None:
    study = stores.enqueue()
    for client_id, study_id in (("other", study.id), ("acme", "st_nothing"), ("acme", "")):
        with pytest.raises(NotFound):
            stores.erasure.begin(client_id, study_id)
    assert stores.studies.get("acme", study.id) == study
    assert stores.jobs.begin("acme", study.id) is not None


# --- what only DynamoDB can show --------------------------------------------------------


@settings(max_examples=8, deadline=None)
@given(parallel=st.integers(2, 10), used=st.integers(0, 4), left=st.integers(0, 10))
def test_of_n_parallel_requests_with_m_units_left_the_smaller_number_is_queued(
    parallel: int, used: int, left: int
) -> None:
    with mock_aws():
        table = make_table()
        conflicts = isolate_transactions(table)
        stores = stores_on(table, FixedClock(NOON))
        client = a_client(plan=a_plan(studies=max(1, used + left)))
        before = client.plan.studies.limit - left
        for _ in range(before):
            stores.enqueue(a_caller(client))

        def try_one(_: int) -> bool:
            try:
                stores.enqueue(a_caller(client, a_key()))
            except QuotaExceeded:
                return False
            return True

        with ThreadPoolExecutor(parallel) as threads:
            queued = sum(threads.map(try_one, range(parallel)))

        assert queued == min(parallel, left), f"{len(conflicts)} conflicts"
        assert stores.used(a_caller(client)) == before + queued
        assert stores.stored() == len(stores.stuck()) == before + queued


@settings(max_examples=6, deadline=None)
@given(parallel=st.integers(2, 10), units=st.integers(1, 3), upload=st.booleans())
def test_one_key_in_parallel_requests_is_one_study_and_one_unit(
    parallel: int, units: int, *, upload: bool
) -> None:
    with mock_aws():
        table = make_table()
        isolate_transactions(table)
        stores = stores_on(table, FixedClock(NOON))
        caller = a_caller(a_client(plan=a_plan(studies=units)))
        asked: dict[str, Any] = {"idempotency": a_word()}
        if upload:
            to_use = an_upload()
            stores.intake.add_upload(to_use)
            asked["upload_id"] = to_use.id
        with ThreadPoolExecutor(parallel) as threads:
            made = list(threads.map(lambda _: stores.enqueue(caller, **asked), range(parallel)))
        assert len({study.id for study in made}) == 1
        assert (stores.stored(), stores.used(caller), len(stores.stuck())) == (1, 1, 1)


def test_the_row_of_an_erased_study_holds_nothing_of_its_content(table: Table) -> None:
    stores = stores_on(table, FixedClock(NOON))
    study = a_study()
    stores.studies.add(a_caller(), study)
    stores.erasure.end(stores.erasure.begin("acme", study.id))
    [row] = [item for item in table.scan()["Items"] if str(item["sk"]).startswith("STUDY#")]
    assert set(row) == {"pk", "sk", "gsi1pk", "gsi1sk", "status", "created_at", "document"}
    assert row["gsi1pk"] == "CLIENT#acme#deleted"
    for word in ("findings", "label", "model", "image", "quality", "Cardiomegaly", "b" * 64):
        assert word not in str(row["document"])


def test_the_rows_of_an_erased_study_hold_nothing_of_its_request(table: Table) -> None:
    stores, upload = stores_on(table, FixedClock(NOON)), an_upload()
    stores.intake.add_upload(upload)
    study = stores.enqueue(idempotency=a_word(request="c"), upload_id=upload.id)
    stores.erasure.end(stores.erasure.begin("acme", study.id))
    rows = {str(item["sk"]).partition("#")[0]: item for item in table.scan()["Items"]}
    assert set(rows["ONCE"]) == {"pk", "sk", records.FORGOTTEN_AT}
    assert set(rows["UPLOAD"]) >= {"id", "client_id", "object_name", "gsi1sk"}
    assert not {"size", "content_type"} & set(rows["UPLOAD"])
    assert "c" * 64 not in str(rows)


def test_an_idempotency_key_is_kept_as_its_hash_and_for_a_day(table: Table) -> None:
    stores = stores_on(table, FixedClock(NOON))
    stores.enqueue(idempotency=a_word("patient-4711"))
    assert "4711" not in str(table.scan()["Items"])
    [row] = [item for item in table.scan()["Items"] if str(item["sk"]).startswith("ONCE#")]
    assert row[records.FORGOTTEN_AT] == NOON.timestamp() + 24 * 3600


def test_an_upload_carries_the_time_at_which_dynamodb_drops_it(table: Table) -> None:
    stores, upload = stores_on(table, FixedClock(NOON)), an_upload()
    stores.intake.add_upload(upload)
    [row] = table.scan()["Items"]
    assert row[records.FORGOTTEN_AT] == upload.expires_at.timestamp()
