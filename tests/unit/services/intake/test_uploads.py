"""Uploads: what the form takes, and the study that it becomes."""

from __future__ import annotations

import pytest

from chalicelib.domain import MAX_UPLOAD_BYTES, Caller, StudyStatus
from chalicelib.errors import NotFinished, NotFound, PayloadTooLarge, QuotaExceeded, RadgateError
from tests.fakes.values import a_caller, a_client, a_key, a_plan
from tests.unit.services.conftest import caller_with
from tests.unit.services.intake.conftest import IMAGE, Bench, a_word


def test_an_upload_becomes_a_queued_study(bench: Bench) -> None:
    caller = a_caller()
    form = bench.upload(caller)
    study = bench.service.enqueue_upload(caller, form.upload_id, request_id="r-2")
    assert study.status is StudyStatus.QUEUED
    job = bench.jobs.jobs[study.id]
    assert bench.sources.get(job.object_name) == IMAGE
    assert job.object_name.startswith(f"uploads/acme/{form.upload_id}-")
    assert bench.left(caller) == (1, 1, 1, 1)
    assert [message.study_id for message, _ in bench.queue.sent] == [study.id]


def test_what_is_posted_after_the_study_was_taken_in_is_none_of_it(bench: Bench) -> None:
    caller = a_caller()
    form = bench.upload(caller)
    study = bench.service.enqueue_upload(caller, form.upload_id)
    job = bench.jobs.jobs[study.id]
    assert list(bench.sources.objects) == [job.object_name]
    assert bench.sources.post(form, b"another image"[: len(IMAGE)])
    assert bench.sources.get(job.object_name) == IMAGE
    with pytest.raises(NotFound):
        bench.service.enqueue_upload(caller, form.upload_id)
    # Whoever clears up behind the study erases both.
    bench.sources.delete(job.object_name)
    assert bench.sources.objects == {}


def test_a_form_takes_no_more_than_was_announced(bench: Bench) -> None:
    form = bench.service.open_upload(a_caller(), len(IMAGE), "image/png")
    assert form.max_bytes == len(IMAGE)
    assert not bench.sources.post(form, IMAGE + b"!")
    assert not bench.sources.post(form, b"")
    assert bench.sources.post(form, IMAGE)
    assert (form.expires_at - bench.clock()).total_seconds() == 15 * 60


def test_an_upload_over_the_cap_is_refused(bench: Bench) -> None:
    bench.service.open_upload(a_caller(), MAX_UPLOAD_BYTES, "image/png")
    with pytest.raises(PayloadTooLarge):
        bench.service.open_upload(a_caller(), MAX_UPLOAD_BYTES + 1, "image/png")


def test_an_upload_without_bytes_is_not_finished(bench: Bench) -> None:
    caller = a_caller()
    form = bench.service.open_upload(caller, 9, "image/png")
    with pytest.raises(NotFinished):
        bench.service.enqueue_upload(caller, form.upload_id)
    assert bench.left(caller) == (0, 0, 0, 0)
    assert bench.sources.post(form, b"123456789")
    bench.service.enqueue_upload(caller, form.upload_id)


def test_a_used_upload_is_not_there_but_its_key_still_answers(bench: Bench) -> None:
    caller = a_caller()
    form = bench.upload(caller)
    study = bench.service.enqueue_upload(caller, form.upload_id, a_word())
    with pytest.raises(NotFound):
        bench.service.enqueue_upload(caller, form.upload_id)
    with pytest.raises(NotFound):
        bench.service.enqueue_upload(caller, form.upload_id, a_word("another"))
    assert bench.service.enqueue_upload(caller, form.upload_id, a_word()) == study
    assert bench.left(caller) == (1, 1, 1, 1)
    assert len(bench.queue.sent) == 1


def test_the_bytes_of_a_refused_upload_wait_for_another_try(bench: Bench) -> None:
    caller = caller_with(units=1)
    bench.service.enqueue(caller, IMAGE)
    form = bench.upload(caller)
    with pytest.raises(QuotaExceeded):
        bench.service.enqueue_upload(caller, form.upload_id)
    assert bench.left(caller) == (1, 1, 1, 2)
    more = a_caller(a_client(plan=a_plan(studies=2)))
    bench.service.enqueue_upload(more, form.upload_id)


def test_an_upload_without_a_unit_is_refused_before_anything_is_looked_up(bench: Bench) -> None:
    caller = caller_with(units=1)
    bench.service.enqueue(caller, IMAGE)
    with pytest.raises(QuotaExceeded):
        bench.service.enqueue_upload(caller, "up_01JD8Z5M3Q4R6S7T8V9W0XYZAB")


@pytest.mark.parametrize(
    ("asker", "error"),
    [(a_caller(a_client("other")), NotFound), (a_caller(key=a_key(mode="test")), None)],
    ids=["another client", "another key of the client"],
)
def test_an_upload_is_its_clients(
    bench: Bench, asker: Caller, error: type[RadgateError] | None
) -> None:
    form = bench.upload(a_caller())
    if error is None:
        assert bench.service.enqueue_upload(asker, form.upload_id).mode == "test"
        return
    with pytest.raises(error):
        bench.service.enqueue_upload(asker, form.upload_id)


def test_an_upload_ends_after_a_day(bench: Bench) -> None:
    caller = a_caller()
    form = bench.upload(caller)
    bench.clock.advance(24 * 3600)
    with pytest.raises(NotFound):
        bench.service.enqueue_upload(caller, form.upload_id)
