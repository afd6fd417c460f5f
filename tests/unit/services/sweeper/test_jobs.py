"""What the sweeper rings for and when, and that a part that fails stops no other."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from chalicelib.domain import LEASE, MAX_ATTEMPTS, UPLOAD_LIFE, Message, StudyStatus
from chalicelib.errors import StorageUnavailable
from chalicelib.services.intake import SHARE
from chalicelib.services.sweeper import LONGEST_PATIENCE, PATIENCE
from tests.fakes.deliveries import a_delivery
from tests.fakes.values import a_client
from tests.unit.services.sweeper.test_retention import expire
from tests.unit.services.worker.conftest import IMAGE

if TYPE_CHECKING:
    from tests.unit.services.sweeper.conftest import Yard


def test_a_queued_study_that_stands_still_is_rung_for(yard: Yard) -> None:
    yard.enqueue(IMAGE)
    [sent] = yard.rung()
    yard.wait(PATIENCE - timedelta(seconds=1))
    assert yard.sweep() == {}
    yard.wait(timedelta(seconds=1))
    assert yard.sweep() == {"rung": 1}
    assert yard.rung() == [sent]
    assert yard.worker.work([sent]) == (None,)
    yard.wait(PATIENCE)
    assert yard.sweep() == {}


def test_behind_a_flood_it_rings_ever_less(yard: Yard) -> None:
    yard.enqueue(IMAGE)
    rings = []
    for minute in range(24 * 60):
        if yard.sweep().get("rung"):
            rings.append(minute)
        yard.wait(timedelta(minutes=1))
    waits = [after - before for before, after in itertools.pairwise(rings)]
    assert rings[0] == 5
    assert waits[:5] == [10, 20, 40, 80, 120]
    assert set(waits[4:]) == {LONGEST_PATIENCE // timedelta(minutes=1)}


def test_a_dead_worker_s_study_is_rung_for_when_its_lease_is_over(yard: Yard) -> None:
    yard.enqueue(IMAGE)
    [sent] = yard.rung()
    assert yard.jobs.begin(sent.client_id, sent.study_id)
    yard.wait(LEASE - timedelta(seconds=1))
    assert yard.sweep() == {}
    yard.wait(timedelta(seconds=1))
    assert yard.sweep() == {"rung": 1}
    assert yard.sweep() == {}  # once, and then as patiently as for any other
    assert yard.rung() == [sent]
    assert yard.worker.work([sent]) == (None,)


def test_what_was_released_is_left_to_sqs_at_first(yard: Yard) -> None:
    yard.enqueue(IMAGE)
    [sent] = yard.rung()
    job = yard.jobs.begin(sent.client_id, sent.study_id)
    assert job
    yard.jobs.release(job)
    assert yard.sweep() == {}
    yard.wait(PATIENCE)
    assert yard.sweep() == {"rung": 1}


def test_after_the_last_attempt_it_is_given_up_without_a_worker(yard: Yard) -> None:
    yard.enqueue(IMAGE)
    [sent] = yard.rung()
    for _ in range(MAX_ATTEMPTS):
        assert yard.jobs.begin(sent.client_id, sent.study_id)
        yard.wait(LEASE)
    assert yard.sweep() == {"given_up": 1}
    study = yard.studies.get(sent.client_id, sent.study_id)
    assert study.status is StudyStatus.FAILED
    assert study.error is not None
    assert study.error["code"] == "internal_error"
    assert yard.used() == 0
    assert yard.rung() == []


def test_what_is_older_than_its_bytes_is_given_up(yard: Yard) -> None:
    yard.enqueue(IMAGE)
    [sent] = yard.rung()
    yard.wait(UPLOAD_LIFE + timedelta(seconds=1))
    assert yard.sweep() == {"given_up": 1}
    assert yard.studies.get(sent.client_id, sent.study_id).status is StudyStatus.FAILED
    assert yard.used() == 0


def test_one_client_s_flood_is_rung_for_in_the_bulk_queue(yard: Yard) -> None:
    other = a_client("other")
    yard.directory.put(other)
    yard.enqueue(*(IMAGE for _ in range(SHARE + 5)))
    yard.enqueue(IMAGE, client=other)
    yard.rung()
    yard.wait(PATIENCE)
    assert yard.sweep() == {"rung": SHARE + 6}
    bulk = [message.client_id for message, is_bulk in yard.queue.sent if is_bulk]
    assert bulk == ["acme"] * 5


def test_due_deliveries_are_sent(yard: Yard) -> None:
    due = a_delivery(next_at=yard.clock())
    yard.deliveries.add(due)
    yard.deliveries.add(a_delivery(next_at=yard.clock() + timedelta(hours=1)))
    assert yard.sweep() == {"deliveries_sent": 1}
    assert yard.outbox.sent == [due]


def test_a_part_that_fails_does_not_stop_the_others(yard: Yard) -> None:
    class Deaf(type(yard.queue)):  # type: ignore[misc]
        def send(self, message: Message, *, bulk: bool) -> None:
            raise StorageUnavailable("The queue does not answer.")

    yard.enqueue(IMAGE, IMAGE + b"2")
    yard.rung()
    expire(yard, 31)
    yard.deliveries.add(a_delivery(next_at=yard.clock()))
    yard.sweeper = replace(yard.sweeper, queue=Deaf())
    yard.wait(PATIENCE)
    assert yard.sweep() == {"failures": 2, "deliveries_sent": 1, "expired": 1}
    assert [event for event, _ in yard.monitor.defects] == ["sweep", "sweep"]
    # Nothing was noted for the messages that did not go out.
    assert all(job.rings == 0 for job in yard.jobs.jobs.values())


def test_it_tells_the_age_of_the_oldest_job(yard: Yard) -> None:
    yard.enqueue(IMAGE)
    yard.wait(timedelta(minutes=2))
    yard.sweep()
    assert ("OldestJob", 120.0, {}) in yard.monitor.values
    assert yard.the_study().status is StudyStatus.QUEUED
