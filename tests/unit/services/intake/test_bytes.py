"""Posted bytes: what is stored, what a refusal leaves, who is rung for."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from chalicelib.domain import Message, StudyStatus
from chalicelib.errors import QuotaExceeded, StorageUnavailable
from chalicelib.services.intake import SHARE
from chalicelib.services.timing import in_time
from tests.fakes.intake import InMemorySourceStore
from tests.fakes.values import a_caller, a_client, a_key
from tests.unit.services.conftest import ForgetfulLedger, caller_with
from tests.unit.services.intake.conftest import IMAGE, Bench, BrokenIntake, SilentQueue


def test_posted_bytes_become_a_queued_study(bench: Bench) -> None:
    caller = a_caller()
    study = bench.service.enqueue(caller, IMAGE, request_id="r-1")
    assert study.status is StudyStatus.QUEUED
    assert study.created_at == bench.clock()
    assert bench.studies.get("acme", study.id) == study
    assert bench.left(caller) == (1, 1, 1, 1)
    job = bench.jobs.jobs[study.id]
    assert bench.sources.get(job.object_name) == IMAGE
    assert (job.metered_at, job.request_id) == (bench.clock(), "r-1")
    assert bench.queue.sent == [(Message(client_id="acme", study_id=study.id), False)]


def test_a_name_of_bytes_is_its_clients_and_cannot_be_guessed(bench: Bench) -> None:
    for _ in range(2):
        bench.service.enqueue(a_caller(), IMAGE)
    names = list(bench.sources.objects)
    assert all(name.startswith("uploads/acme/st_") for name in names)
    words = {name.rpartition("-")[2] for name in names}
    assert len(words) == 2
    assert all(len(bytes.fromhex(word)) == 16 for word in words)


def test_a_test_key_meters_nothing(bench: Bench) -> None:
    caller = a_caller(caller_with(units=1).client, a_key(mode="test"))
    studies = [bench.service.enqueue(caller, IMAGE) for _ in range(2)]
    assert [study.mode for study in studies] == ["test", "test"]
    assert bench.left(caller) == (2, 0, 2, 2)
    assert bench.jobs.jobs[studies[0].id].metered_at is None


def test_without_units_nothing_is_stored(bench: Bench) -> None:
    caller = caller_with(units=1)
    bench.service.enqueue(caller, IMAGE)
    with pytest.raises(QuotaExceeded):
        bench.service.enqueue(caller, IMAGE)
    assert bench.left(caller) == (1, 1, 1, 1)
    assert len(bench.queue.sent) == 1


def test_the_loser_of_a_race_for_the_last_unit_keeps_no_bytes() -> None:
    bench, caller = Bench(ledger_type=ForgetfulLedger), caller_with(units=1)
    bench.service.enqueue(caller, IMAGE)
    with pytest.raises(QuotaExceeded):
        bench.service.enqueue(caller, IMAGE)
    assert bench.left(caller) == (1, 1, 1, 1)


def test_bytes_stay_when_the_table_may_have_taken_the_study() -> None:
    bench, caller = Bench(intake_type=BrokenIntake), a_caller()
    with pytest.raises(StorageUnavailable):
        bench.service.enqueue(caller, IMAGE)
    assert bench.left(caller) == (0, 0, 0, 1)


@pytest.mark.parametrize("way", ["bytes", "upload"])
def test_what_is_stored_too_late_is_no_study(bench: Bench, way: str) -> None:
    """The storage answers after the client was told that it does not."""
    let_go, ended = threading.Event(), threading.Event()

    class Slow(InMemorySourceStore):
        def put(self, object_name: str, body: bytes) -> None:
            let_go.wait(30)
            super().put(object_name, body)

        def take(self, posted: str, study_id: str) -> str | None:
            let_go.wait(30)
            return super().take(posted, study_id)

    bench.sources = Slow(bench.clock)
    bench.service = replace(bench.service, sources=bench.sources)
    caller = a_caller()
    form = bench.upload(caller) if way == "upload" else None

    def ask() -> None:
        try:
            if form is None:
                bench.service.enqueue(caller, IMAGE)
            else:
                bench.service.enqueue_upload(caller, form.upload_id)
        except StorageUnavailable:
            ended.set()

    with pytest.raises(TimeoutError):
        in_time(ask, 0.02)
    let_go.set()
    assert ended.wait(10)
    assert bench.left(caller)[:3] == (0, 0, 0)
    # What was uploaded is left for the next request.
    assert list(bench.sources.objects) == ([] if form is None else [form.fields["key"]])
    if form is not None:
        assert bench.service.enqueue_upload(caller, form.upload_id).status is StudyStatus.QUEUED


def test_a_study_stands_whose_message_could_not_be_sent() -> None:
    bench, caller = Bench(queue=SilentQueue()), a_caller()
    study = bench.service.enqueue(caller, IMAGE)
    assert bench.studies.get("acme", study.id).status is StudyStatus.QUEUED
    assert bench.left(caller) == (1, 1, 1, 1)


def test_a_clients_share_goes_to_the_first_queue_and_the_rest_to_the_bulk_one(
    bench: Bench,
) -> None:
    for _ in range(SHARE + 2):
        bench.service.enqueue(a_caller(), IMAGE)
    bench.service.enqueue(a_caller(a_client("other")), IMAGE)
    assert SHARE == 10
    assert [bulk for _, bulk in bench.queue.sent] == [False] * 10 + [True] * 2 + [False]


def test_what_is_under_way_does_not_count_as_waiting(bench: Bench) -> None:
    queued = [bench.service.enqueue(a_caller(), IMAGE) for _ in range(SHARE)]
    assert bench.jobs.begin("acme", queued[0].id) is not None
    bench.service.enqueue(a_caller(), IMAGE)
    assert not any(bulk for _, bulk in bench.queue.sent)
