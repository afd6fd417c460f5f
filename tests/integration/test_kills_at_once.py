"""`POST /xray` dies between any two of its writes; what is left is metered, or erased in time."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

import pytest
from moto import mock_aws

from chalicelib.domain import StudyStatus
from chalicelib.errors import QuotaExceeded
from chalicelib.services.analysis import AnalysisService
from chalicelib.services.reading import Reader
from chalicelib.services.timing import Deadline, Stopwatch
from chalicelib.tenants import records
from tests.fakes.inference import FakeDecoder, FakeGate
from tests.fakes.reports import PlainReportWriter
from tests.fakes.values import a_caller, a_plan, a_study
from tests.integration.killing import FAR, IMAGES, World, killed

if TYPE_CHECKING:
    from chalicelib.domain import Study
    from chalicelib.ports import ReportWriter

RETENTION = timedelta(days=30)


def analyse(world: World, writer: ReportWriter | None = None) -> Study:
    reader = Reader(FakeDecoder(), FakeGate(), world.classifier, writer or PlainReportWriter())
    service = AnalysisService(
        reader=lambda: reader,
        documents=world.documents,
        studies=world.studies,
        ledger=world.ledger,
        intake=world.intake,
        clock=world.clock,
    )
    return service.analyse(a_caller(world.client), IMAGES["good"], Stopwatch(), Deadline(FAR))


def ids(world: World) -> list[str]:
    return [study.id for study in world.studies.page(world.client.id, 100, None, None).items]


def test_a_request_may_die_anywhere() -> None:
    for calls in count():
        with mock_aws():
            world = World()
            died = killed(world, lambda: analyse(world), calls)  # noqa: B023
            where = f"after {calls} writes"
            stored = ids(world)
            assert len(stored) == world.used() == int(not died), where
            # What the request had stored is there: all of a study's, or of none that is known.
            assert len(world.objects("clients/")) == min(calls, 2), where
            world.clock.advance((RETENTION - timedelta(hours=1)).total_seconds())
            world.sweep()
            assert len(world.objects("clients/")) == min(calls, 2), where
            # The next look is a day after the last one.
            world.clock.advance(timedelta(days=1, hours=1).total_seconds())
            world.sweep()
            assert world.objects("clients/") == [], where
            for study_id in stored:
                assert world.studies.get("acme", study_id).status is StudyStatus.DELETED, where
            if not died:
                assert calls == 3, "a report, a heatmap, a transaction"
                return


def test_the_sweeper_may_die_over_what_a_dead_request_left() -> None:
    for calls in count():
        with mock_aws():
            world = World()
            assert killed(world, lambda: analyse(world), 2)  # noqa: B023
            world.clock.advance((RETENTION + timedelta(hours=1)).total_seconds())
            died = killed(world, world.sweep, calls)
            world.sweep()
            where = f"after {calls} writes"
            assert world.objects("clients/") == [], where
            assert ids(world) == [], where
            assert world.used() == 0, where
            if not died:
                assert calls >= 4, "two objects, the look, the turn"
                return


@mock_aws
def test_a_refused_request_leaves_no_document() -> None:
    """Units were left when the request came, and none at its end."""
    world = World()
    client = world.client.model_copy(update={"plan": a_plan(studies=1)})
    world.client = client
    other = a_study(created_at=world.clock())

    class Racing(PlainReportWriter):
        def write(self, *_args: object, **_named: object) -> bytes:
            world.studies.add(a_caller(client), other)
            return b"%PDF"

    with pytest.raises(QuotaExceeded):
        analyse(world, Racing())
    assert world.objects("clients/") == []
    assert ids(world) == [other.id]


@mock_aws
def test_a_row_that_does_not_validate_keeps_nothing_else() -> None:
    world = World()
    first, bad, last = (analyse(world).id for _ in range(3))
    spoilt = records.study_key("acme", bad)
    world.table.update_item(
        Key=spoilt,
        UpdateExpression="SET document = :odd",
        ExpressionAttributeValues={":odd": '{"patient": "Doe"}'},
    )
    world.clock.advance((RETENTION + timedelta(hours=1)).total_seconds())
    world.sweep()
    for study_id in (first, last):
        assert world.studies.get("acme", study_id).status is StudyStatus.DELETED
    # Nobody can read the row, so it stays and is told of; the images go all the same.
    assert world.objects("clients/") == []
    assert {facts["study_id"] for facts in world.monitor.defect_facts} == {bad}
    assert "Doe" not in repr(world.monitor.defect_facts)
    assert world.table.get_item(Key={"pk": "SWEEP", "sk": "RETENTION"})["Item"]["client_id"]
