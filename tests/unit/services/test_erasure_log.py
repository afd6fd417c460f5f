"""What is erased is noted once it is deleted, by ids alone; what is not erased is not noted."""

from __future__ import annotations

import pytest

from chalicelib.errors import NotFound, StorageUnavailable
from chalicelib.services.erasure import ErasureService
from chalicelib.services.erasure_log import LoggedErasure
from tests.fakes.intake import FakeErasure
from tests.fakes.operations import FakeMonitor
from tests.fakes.values import a_caller
from tests.unit.services.test_erasure import Bench

CALLER = a_caller()


def logged(bench: Bench) -> tuple[ErasureService, FakeMonitor]:
    log = FakeMonitor()
    erasure = LoggedErasure(FakeErasure(bench.studies, bench.jobs, bench.clock), log.note)
    return ErasureService(erasure, bench.documents, bench.sources), log


def test_an_erased_study_is_noted_by_its_ids() -> None:
    bench = Bench()
    service, log = logged(bench)
    study = bench.queued(CALLER)
    service.erase(CALLER.client.id, study.id)
    assert log.lines == [
        ("study erased", {"client": CALLER.client.id, "study_id": study.id}),
    ]


def test_it_is_noted_also_where_the_rest_is_left_to_the_sweeper() -> None:
    bench = Bench()
    bench.sources.failures = 1
    service, log = logged(bench)
    study = bench.queued(CALLER)
    with pytest.raises(StorageUnavailable):
        service.erase(CALLER.client.id, study.id)
    assert [facts["study_id"] for _, facts in log.lines] == [study.id]


def test_what_a_client_only_claims_to_have_is_not_noted() -> None:
    service, log = logged(Bench())
    with pytest.raises(NotFound):
        service.erase(CALLER.client.id, "st_0123456789ABCDEFGHJKMNPQRS")
    assert log.lines == []
