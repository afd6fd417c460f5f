"""What fails on our side is tried again, up to the last attempt, and told in the log."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from chalicelib.domain import LEASE, MAX_ATTEMPTS, StudyStatus
from chalicelib.errors import ModelUnavailable, StorageUnavailable
from chalicelib.services.worker import AT_ONCE, RETRY
from tests.fakes.deliveries import FakeOutbox
from tests.fakes.jobs import FakeJobStore
from tests.unit.services.worker.conftest import IMAGE, REQUEST, Bench

if TYPE_CHECKING:
    from chalicelib.domain import Delivery, Job
    from chalicelib.services.reading import Reader


def test_a_failure_of_ours_is_tried_again_at_growing_distances(bench: Bench) -> None:
    bench.enqueue(IMAGE)
    bench.sources.failures = 2
    assert bench.work() == (RETRY,)
    assert bench.all()[0].status is StudyStatus.RUNNING
    assert bench.work() == (4 * RETRY,)  # the lease was given back, so no time need pass
    assert bench.work() == (None,)
    assert bench.all()[0].status is StudyStatus.SUCCEEDED
    assert bench.used() == 1
    assert len(bench.monitor.defects) == 2


def test_after_the_last_attempt_it_fails_costs_nothing_and_is_a_dead_letter(bench: Bench) -> None:
    bench.enqueue(IMAGE)
    bench.classifier.working = False
    assert [bench.work() for _ in range(MAX_ATTEMPTS)] == [(RETRY,), (4 * RETRY,), (AT_ONCE,)]
    [study] = bench.all()
    assert study.status is StudyStatus.FAILED
    assert study.error is not None
    assert study.error["code"] == "model_unavailable"
    assert bench.used() == 0
    assert bench.told() == [("study.failed", "mail"), ("study.failed", "webhook")]
    # The bytes stay, so that it can be queued anew, and the message goes on being refused.
    assert len(bench.sources.objects) == 1
    assert bench.work() == (AT_ONCE,)
    assert len(bench.told()) == 2


def test_notices_that_cannot_be_sent_do_not_undo_a_result(bench: Bench) -> None:
    class Deaf(FakeOutbox):
        def send(self, delivery: Delivery) -> None:
            raise StorageUnavailable("The queue does not answer.")

    bench.enqueue(IMAGE)
    endings = replace(bench.worker.endings, outbox=Deaf(bench.clock))
    bench.worker = replace(bench.worker, endings=endings)
    assert bench.work() == (None,)
    assert bench.all()[0].status is StudyStatus.SUCCEEDED
    assert len(bench.jobs.deliveries) == 2  # where the sweeper finds them


def test_a_stage_may_have_its_own_distances(bench: Bench) -> None:
    bench.enqueue(IMAGE)
    bench.worker = replace(bench.worker, retry=timedelta(seconds=1))
    bench.classifier.working = False
    waits = [timedelta(seconds=1), timedelta(seconds=4), AT_ONCE]
    assert [bench.work() for _ in range(MAX_ATTEMPTS)] == [(wait,) for wait in waits]


def test_without_a_model_each_study_has_its_attempts(bench: Bench) -> None:
    def none() -> Reader:
        raise ModelUnavailable("no runtime is installed")

    bench.enqueue(IMAGE)
    bench.worker = replace(bench.worker, reader=none)
    assert [bench.work() for _ in range(MAX_ATTEMPTS)] == [(RETRY,), (4 * RETRY,), (AT_ONCE,)]
    [study] = bench.all()
    assert study.error is not None
    assert study.error["code"] == "model_unavailable"


def test_a_table_that_is_away_keeps_the_message(bench: Bench) -> None:
    class Away(FakeJobStore):
        def begin(self, client_id: str, study_id: str) -> Job | None:
            raise StorageUnavailable("The table does not answer.")

    bench.enqueue(IMAGE)
    jobs = Away(bench.studies, bench.ledger, bench.clock)
    bench.worker = replace(bench.worker, jobs=jobs)
    assert bench.work() == (RETRY,)


def test_what_kills_its_process_thrice_is_given_up_and_takes_no_other_with_it(
    bench: Bench,
) -> None:
    bench.enqueue(IMAGE, b"fatal", IMAGE + b"2")
    for _ in range(MAX_ATTEMPTS):
        with pytest.raises(KeyboardInterrupt):
            bench.work()
        bench.clock.advance(LEASE.total_seconds())
    assert bench.work() == (None, AT_ONCE, None)
    assert [study.status for study in bench.all()] == [
        StudyStatus.SUCCEEDED,
        StudyStatus.FAILED,
        StudyStatus.SUCCEEDED,
    ]
    assert bench.used() == 2


def test_every_line_names_study_client_and_request(bench: Bench) -> None:
    bench.enqueue(IMAGE, b"broken")
    bench.work()
    lines = [facts for event, facts in bench.monitor.lines if event == "study"]
    assert [line["code"] for line in sorted(lines, key=lambda line: str(line["code"]))] == [
        "",
        "unreadable_image",
    ]
    begun = [facts for event, facts in bench.monitor.lines if event == "begun"]
    assert {line["study_id"] for line in begun} == {line["study_id"] for line in lines}
    for line in (*begun, *lines):
        assert (line["request_id"], line["client"], line["attempt"]) == (REQUEST, "acme", 1)
    parts = {d["part"] for name, _, d in bench.monitor.values if name == "BatchTime"}
    assert parts == {"fetch", "decode", "gate", "predict", "report", "store"}
