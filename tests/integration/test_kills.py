"""A worker or a sweeper dies between any two of its writes; what comes next makes it whole.

The processes die in here. On the local AWS, `tests/e2e/test_queue.py` kills a real one.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest
from moto import mock_aws

from chalicelib.domain import LEASE, MAX_ATTEMPTS, REPORT_NAME, Message, StudyStatus
from chalicelib.services.reading import Reader
from chalicelib.services.sweeper import PATIENCE
from chalicelib.services.worker import WorkerService
from chalicelib.tenants.erasure import DynamoErasure
from tests.fakes.inference import NEWER_FACTS, FakeDecoder, FakeGate
from tests.fakes.reports import PlainReportWriter
from tests.integration.killing import BUCKET, IMAGES, Fuse, World, killed, redelivered, swept_first

if TYPE_CHECKING:
    from collections.abc import Callable

ENDS = {
    "good": (StudyStatus.SUCCEEDED, "study.succeeded", 1, 0, 2),
    "bad": (StudyStatus.FAILED, "study.failed", 0, 0, 0),
    # It may be queued anew, so its bytes stay for the day that the bucket's lifecycle gives them.
    "without a model": (StudyStatus.FAILED, "study.failed", 0, 1, 0),
}


@pytest.mark.parametrize("recover", [redelivered, swept_first])
@pytest.mark.parametrize("image", IMAGES)
def test_a_worker_may_die_anywhere(image: str, recover: Callable[[World, Message], None]) -> None:
    status, kind, units, sources, documents = ENDS[image]
    for calls in count():
        with mock_aws():
            world = World()
            world.classifier.working = image != "without a model"
            message = world.enqueue(IMAGES[image])
            if image == "without a model":  # the last attempt is the one with an end to kill
                for _ in range(MAX_ATTEMPTS - 1):
                    world.worker.work([message])
            died = killed(world, lambda: world.worker.work([message]), calls)  # noqa: B023
            recover(world, message)
            world.sweep()
            study = world.studies.get(message.client_id, message.study_id)
            where = f"after {calls} writes"
            assert study.status is status, where
            assert world.used() == units, where
            assert world.deliveries() == [(kind, "mail"), (kind, "webhook")], where
            assert world.sent() == {"mail", "webhook"}, where
            assert len(world.objects("uploads/")) == sources, where
            assert len(world.objects("clients/")) == documents, where
            assert world.left_jobs() == 0, where
            if not died:
                assert calls >= 4, "the worker writes more often than that"
                return


def test_a_worker_may_die_anywhere_while_another_pack_is_made_active() -> None:
    for calls in count():
        with mock_aws():
            world = World()
            message = world.enqueue(IMAGES["good"])
            died = killed(world, lambda: world.worker.work([message]), calls)  # noqa: B023
            world.classifier.pack, world.classifier.label = NEWER_FACTS, "Edema"
            redelivered(world, message)
            study = world.studies.get(message.client_id, message.study_id)
            assert study.model is not None
            where = f"after {calls} writes"
            folder = f"clients/acme/studies/{study.id}/"
            names = [name.removeprefix(folder) for name in world.objects(folder)]
            label = "edema" if study.model == NEWER_FACTS.ref else "cardiomegaly"
            assert names == [f"heatmap-{label}.png", REPORT_NAME], where
            report = world.s3.get_object(Bucket=BUCKET, Key=f"{folder}{REPORT_NAME}")
            assert report["Body"].read().endswith(study.model.name.encode()), where
            world.erasure.erase(message.client_id, message.study_id)
            assert world.objects("clients/") == [], where
            if not died:
                return


def test_a_worker_may_die_over_a_study_that_is_erased_under_it() -> None:
    class Erasing(PlainReportWriter):
        def write(self, *args: object, **named: object) -> bytes:
            world.erasure.erase(message.client_id, message.study_id)
            return b"%PDF"

    for calls in count():
        with mock_aws():
            world = World()
            message = world.enqueue(IMAGES["good"])
            reader = Reader(FakeDecoder(), FakeGate(), world.classifier, Erasing())
            world.worker = WorkerService(
                jobs=world.jobs,
                directory=world.worker.directory,
                sources=world.worker.sources,
                reader=lambda: reader,  # noqa: B023
                endings=world.worker.endings,
                monitor=world.monitor,
                clock=world.clock,
            )
            died = killed(world, lambda: world.worker.work([message]), calls)  # noqa: B023
            # A worker that died before it wrote anything leaves the study to the next.
            redelivered(world, message)
            world.clock.advance(LEASE.total_seconds() + PATIENCE.total_seconds())
            world.sweep()
            where = f"after {calls} writes"
            study = world.studies.get(message.client_id, message.study_id)
            assert study.status is StudyStatus.DELETED, where
            assert world.objects("") == [], where
            assert (world.left_jobs(), world.used()) == (0, 1), where
            if not died:
                return


def test_the_sweeper_may_die_anywhere() -> None:
    """It rings, gives up, finishes an erasure, sends what is due and erases what is too old."""
    for calls in count():
        with mock_aws():
            world = World()
            old = world.enqueue(IMAGES["good"])
            assert world.worker.work([old]) == (None,)
            erased = world.enqueue(IMAGES["good"])
            hopeless = world.enqueue(IMAGES["good"])
            for _ in range(MAX_ATTEMPTS):
                assert world.jobs.begin(hopeless.client_id, hopeless.study_id)
                world.clock.advance(LEASE.total_seconds())
            DynamoErasure(world.table, world.clock).begin(erased.client_id, erased.study_id)
            forgotten = world.enqueue(IMAGES["good"])
            world.clock.advance(PATIENCE.total_seconds())
            world.received(2)
            died = killed(world, world.sweep, calls)
            world.clock.advance(2 * PATIENCE.total_seconds())
            world.sweep()
            where = f"after {calls} writes"
            rung = {Message.model_validate_json(body).study_id for body in world.received()}
            assert rung == {forgotten.study_id}, where
            given_up = world.studies.get("acme", hopeless.study_id)
            assert given_up.status is StudyStatus.FAILED, where
            assert given_up.error is not None
            assert given_up.error["code"] == "internal_error"
            assert world.used() == 3, where
            assert world.sent() == {"mail", "webhook"}, where
            assert world.objects(f"uploads/acme/{erased.study_id}") == [], where
            # A month later everything is too old but what is still queued, whose bytes are gone.
            world.clock.advance(31 * 24 * 3600)
            died = killed(world, world.sweep, calls) or died
            world.clock.advance(LEASE.total_seconds())
            world.sweep()
            for message in (old, erased, hopeless, forgotten):
                study = world.studies.get("acme", message.study_id)
                assert study.status is StudyStatus.DELETED, where
            world.clock.advance(PATIENCE.total_seconds())
            world.sweep()
            assert world.objects("clients/") == [], where
            assert world.left_jobs() == 0, where
            if not died:
                assert calls > 8, "the sweeper writes more often than that"
                return


@mock_aws
def test_a_swept_stage_is_left_as_it_is() -> None:
    world = World()
    message = world.enqueue(IMAGES["good"])
    world.worker.work([message])
    world.sweep()
    world.fuse = Fuse()
    world.sweep()
    # The notices stay due until somebody has delivered them; and whose turn it was is noted.
    assert world.fuse.made == ["SendMessage", "SendMessage", "PutItem"]
