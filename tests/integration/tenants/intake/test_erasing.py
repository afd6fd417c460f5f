"""One contract for erasure: what is left of a study, and of the key that made it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.domain import Study, StudyStatus
from chalicelib.errors import IdempotencyConflict, NotFound
from chalicelib.tenants import records
from tests.fakes.clock import FixedClock
from tests.fakes.values import NOON, a_caller, a_key, a_study
from tests.integration.tenants.intake.conftest import Stores, a_word, an_upload, stores_on

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


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
