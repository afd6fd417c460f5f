"""Erasures that were cut short, and bytes that come too late."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from chalicelib.domain import LAST_BYTES, LEASE, UPLOAD_LINK, Message
from chalicelib.errors import StorageUnavailable
from tests.fakes.intake import FakeErasure, InMemorySourceStore
from tests.fakes.values import a_caller
from tests.unit.services.worker.conftest import IMAGE

if TYPE_CHECKING:
    from chalicelib.domain import UploadForm
    from tests.unit.services.sweeper.conftest import Yard


def test_an_erasure_that_was_cut_short_is_finished(yard: Yard) -> None:
    yard.enqueue(IMAGE)
    yard.rung()
    job = yard.the_job()
    FakeErasure(yard.studies, yard.jobs, yard.clock).begin(job.client_id, job.study_id)
    yard.wait(timedelta(minutes=1))
    assert yard.sweep() == {"erasures_finished": 1}
    assert (yard.sources.objects, yard.jobs.jobs, yard.rung()) == ({}, {}, [])


def test_an_erasure_is_finished_at_once_however_long_the_study_has_waited(yard: Yard) -> None:
    """Behind a flood it was rung for until the next ring was two hours away."""
    yard.enqueue(IMAGE)
    while yard.the_job().rings < 6:
        yard.wait(timedelta(minutes=1))
        yard.sweep()
    job = yard.the_job()
    FakeErasure(yard.studies, yard.jobs, yard.clock).begin(job.client_id, job.study_id)
    assert yard.sweep() == {"erasures_finished": 1}
    assert yard.sources.objects == {}


def test_what_a_worker_may_store_of_an_erased_study_goes_when_its_lease_is_over(
    yard: Yard,
) -> None:
    yard.enqueue(IMAGE)
    job = yard.the_job()
    assert yard.jobs.begin(job.client_id, job.study_id)
    yard.wait(LEASE / 2)
    yard.erasure.erase(job.client_id, job.study_id)
    yard.documents.put(job.client_id, job.study_id, "report.pdf", b"%PDF-")
    yard.wait(LEASE / 2 - timedelta(seconds=1))
    assert yard.sweep() == {}
    yard.wait(timedelta(seconds=1))
    assert yard.sweep() == {"erasures_finished": 1}
    assert (len(yard.documents), yard.jobs.jobs) == (0, {})


def spend_an_upload(yard: Yard) -> UploadForm:
    """Have a study made of an upload, work on it, and post to its form once more."""
    form = yard.intake.open_upload(a_caller(yard.client), len(IMAGE), "image/png")
    assert yard.sources.post(form, IMAGE)
    study = yard.intake.enqueue_upload(a_caller(yard.client), form.upload_id)
    assert yard.worker.work([Message(client_id="acme", study_id=study.id)]) == (None,)
    assert form.fields["key"] not in yard.sources.objects
    assert yard.sources.post(form, IMAGE[::-1])
    return form


def test_what_a_form_took_too_late_is_erased_once_it_has_ended(yard: Yard) -> None:
    form = spend_an_upload(yard)
    yard.wait(UPLOAD_LINK + LAST_BYTES - timedelta(seconds=1))
    assert yard.sweep() == {}
    assert list(yard.sources.objects) == [form.fields["key"]]
    yard.wait(timedelta(seconds=1))
    assert yard.sweep() == {"forms_ended": 1}
    assert yard.sources.objects == {}
    assert yard.sweep() == {}


def test_late_bytes_that_cannot_be_erased_hold_up_no_others_and_are_tried_again(
    yard: Yard,
) -> None:
    first, second = (spend_an_upload(yard) for _ in range(2))

    class Picky(InMemorySourceStore):
        def drop(self, object_name: str) -> None:
            if object_name == first.fields["key"]:
                raise StorageUnavailable("The image storage does not answer.")
            del yard.sources.objects[object_name]

    usual, yard.sweeper = yard.sweeper, replace(yard.sweeper, sources=Picky(yard.clock))
    yard.wait(UPLOAD_LINK + LAST_BYTES)
    assert yard.sweep() == {"failures": 1, "forms_ended": 1}
    assert second.fields["key"] not in yard.sources.objects
    assert yard.monitor.defect_facts == [{"client": "acme"}]
    yard.sweeper = usual
    assert yard.sweep() == {"forms_ended": 1}
    assert yard.sources.objects == {}
