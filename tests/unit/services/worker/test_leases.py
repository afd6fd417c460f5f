"""Another worker, another pack or an erasure comes between."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.domain import LEASE, StudyStatus
from chalicelib.errors import NotFound, StorageUnavailable
from chalicelib.services.erasure import ErasureService
from chalicelib.services.studies import StudyService
from chalicelib.services.worker import RETRY
from tests.fakes.inference import NEWER_FACTS, FakeDecoder
from tests.fakes.intake import FakeErasure
from tests.fakes.jobs import FakeJobStore
from tests.fakes.reports import PlainReportWriter
from tests.fakes.values import NOON
from tests.unit.services.worker.conftest import IMAGE, Bench, Overtaken

if TYPE_CHECKING:
    from collections.abc import Callable

    from chalicelib.domain import Job, Radiograph
    from tests.fakes.clock import FixedClock


def test_another_worker_s_study_is_left_to_it(bench: Bench) -> None:
    bench.enqueue(IMAGE)
    [(message, _)] = bench.queue.sent
    assert bench.jobs.begin(message.client_id, message.study_id)
    assert bench.work() == (None,)
    assert bench.classifier.passes == 0


class SlowDecoder(FakeDecoder):
    """Takes a minute of the clock for each image, and lets somebody else have a go before that."""

    def __init__(self, clock: FixedClock, meanwhile: Callable[[], None]) -> None:
        self._clock = clock
        self._meanwhile = meanwhile

    def decode(self, body: bytes) -> Radiograph:
        self._clock.advance(60)
        self._meanwhile()
        return super().decode(body)


def test_a_batch_that_takes_longer_than_a_lease_keeps_its_studies(bench: Bench) -> None:
    taken: list[Job] = []

    def rival() -> None:
        begun = [job.study_id for job in bench.jobs.jobs.values() if job.attempt]
        taken.extend(job for one in begun if (job := bench.jobs.begin("acme", one)))

    bench.enqueue(*(IMAGE + bytes([n]) for n in range(10)))
    bench.reader = replace(bench.reader, decoder=SlowDecoder(bench.clock, rival))
    assert bench.work() == (None,) * 10
    assert bench.clock() - NOON > 3 * LEASE
    assert taken == []
    assert {study.status for study in bench.all()} == {StudyStatus.SUCCEEDED}
    assert (bench.classifier.passes, bench.classifier.predictions) == (1, 10)


def test_what_another_has_taken_meanwhile_is_not_even_answered(bench: Bench) -> None:
    def rival() -> None:
        if bench.clock() - NOON > LEASE:  # the batch has hung, past every renewal
            bench.jobs.begin("acme", bench.queue.sent[0][0].study_id)

    def hang() -> None:
        bench.clock.advance(LEASE.total_seconds())
        rival()

    bench.enqueue(IMAGE, IMAGE + b"2")
    bench.reader = replace(bench.reader, decoder=SlowDecoder(bench.clock, hang))
    assert bench.work() == (None, None)
    first, second = bench.all()
    assert (first.status, second.status) == (StudyStatus.RUNNING, StudyStatus.SUCCEEDED)
    assert bench.classifier.predictions == 1


def test_a_renewal_that_fails_between_two_steps_harms_nothing(bench: Bench) -> None:
    class Deaf(FakeJobStore):
        def renew(self, job: Job) -> Job | None:
            raise StorageUnavailable("The table does not answer.")

    bench.enqueue(IMAGE, IMAGE + b"2")
    jobs = Deaf(bench.studies, bench.ledger, bench.clock)
    jobs.jobs = bench.jobs.jobs
    bench.reader = replace(bench.reader, decoder=SlowDecoder(bench.clock, lambda: None))
    bench.worker = replace(bench.worker, jobs=jobs)
    assert bench.work() == (None, None)
    assert {study.status for study in bench.all()} == {StudyStatus.SUCCEEDED}


def test_who_lost_the_lease_stores_nothing(bench: Bench) -> None:
    class Slow(PlainReportWriter):
        def write(self, *args: object, **named: object) -> bytes:
            bench.clock.advance(LEASE.total_seconds())
            assert bench.jobs.begin(message.client_id, message.study_id)
            return b"%PDF"

    bench.enqueue(IMAGE)
    [(message, _)] = bench.queue.sent
    bench.reader = replace(bench.reader, writer=Slow())
    assert bench.work() == (None,)
    assert bench.all()[0].status is StudyStatus.RUNNING
    assert bench.told() == []
    assert len(bench.sources.objects) == 1  # the other one needs them


@pytest.mark.parametrize("moment", ["written", "looked", "proven", "stored"])
def test_all_of_a_study_is_of_one_pack_whoever_comes_between(bench: Bench, moment: str) -> None:
    """Another worker, with the newer pack, does the whole study while the first one hangs."""

    def overtake() -> None:
        bench.clock.advance(LEASE.total_seconds())
        bench.classifier.pack, bench.classifier.label = NEWER_FACTS, "Edema"
        assert bench.work() == (None,)

    class Slow(PlainReportWriter):
        def write(self, *args: Any, **named: Any) -> bytes:
            report = super().write(*args, **named)
            if bench.classifier.pack is not NEWER_FACTS:
                overtake()
            return report

    bench.enqueue(IMAGE)
    if moment == "written":
        bench.reader = replace(bench.reader, writer=Slow())
    else:
        bench.keep_documents(Overtaken(bench.clock, moment, overtake))
    if moment == "looked":  # as a second attempt does, since the first may have left something
        bench.sources.failures = 1
        assert bench.work() == (RETRY,)
    assert bench.work() == (None,)
    [study] = bench.all()
    assert study.model == NEWER_FACTS.ref
    shown = StudyService(bench.studies, bench.documents).get("acme", study.id)
    assert shown.report is not None
    report = bench.documents.fetch(shown.report.url)
    assert report is not None
    assert b"newernet" in report
    assert [bench.documents.fetch(one.url) is not None for one in shown.heatmaps] == [True]
    assert len(bench.documents) == 2  # and no second report


def test_a_first_attempt_does_not_look_for_what_another_may_have_left(bench: Bench) -> None:
    looks: list[str] = []
    bench.keep_documents(Overtaken(bench.clock, "looked", lambda: looks.append("looked")))
    bench.enqueue(IMAGE)
    assert bench.work() == (None,)
    assert looks == []


def test_of_a_study_erased_under_the_worker_nothing_stays(bench: Bench) -> None:
    class Erasing(PlainReportWriter):
        def write(self, *args: object, **named: object) -> bytes:
            erasure = FakeErasure(bench.studies, bench.jobs, bench.clock)
            service = ErasureService(erasure, bench.documents, bench.sources)
            service.erase(message.client_id, message.study_id)
            return b"%PDF"

    bench.enqueue(IMAGE)
    [(message, _)] = bench.queue.sent
    bench.reader = replace(bench.reader, writer=Erasing())
    assert bench.work() == (None,)
    assert bench.all()[0].status is StudyStatus.DELETED
    assert (len(bench.documents), bench.sources.objects, bench.told()) == (0, {}, [])
    assert bench.used() == 1


def test_of_a_study_that_went_with_its_client_nothing_stays(bench: Bench) -> None:
    class Removing(PlainReportWriter):
        def write(self, *args: object, **named: object) -> bytes:
            bench.studies.remove(message.client_id, message.study_id)
            return b"%PDF"

    bench.enqueue(IMAGE)
    [(message, _)] = bench.queue.sent
    bench.reader = replace(bench.reader, writer=Removing())
    assert bench.work() == (None,)
    assert len(bench.documents) == 0
    with pytest.raises(NotFound):
        bench.studies.get(message.client_id, message.study_id)
