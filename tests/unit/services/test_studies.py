"""Reading studies: only one's own, with links that are signed when they are asked for."""

from __future__ import annotations

import pytest

from chalicelib.domain import StudyStatus
from chalicelib.errors import NotFinished, NotFound
from chalicelib.services.studies import StudyService
from tests.fakes.clock import FixedClock
from tests.fakes.reports import InMemoryDocumentStore
from tests.fakes.tenants import FakeLedger, FakeStudyStore
from tests.fakes.values import a_caller, a_study


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def store(clock: FixedClock) -> FakeStudyStore:
    return FakeStudyStore(FakeLedger(clock))


@pytest.fixture
def service(store: FakeStudyStore, clock: FixedClock) -> StudyService:
    return StudyService(store, InMemoryDocumentStore(clock))


def test_a_link_is_signed_at_each_reading(
    service: StudyService, store: FakeStudyStore, clock: FixedClock
) -> None:
    study = a_study()
    store.add(a_caller(), study)
    first = service.get("acme", study.id).report
    clock.advance(600)
    second = service.get("acme", study.id).report
    assert first is not None
    assert second is not None
    assert (second.expires_at - first.expires_at).total_seconds() == 600


def test_a_study_without_a_result_has_no_link(service: StudyService, store: FakeStudyStore) -> None:
    study = a_study(status=StudyStatus.QUEUED)
    store.add(a_caller(), study)
    assert service.get("acme", study.id).report is None
    with pytest.raises(NotFinished):
        service.report("acme", study.id)


def test_a_failed_study_has_no_report(service: StudyService, store: FakeStudyStore) -> None:
    study = a_study(status=StudyStatus.FAILED)
    store.add(a_caller(), study)
    with pytest.raises(NotFound):
        service.report("acme", study.id)


def test_anothers_study_does_not_exist(service: StudyService, store: FakeStudyStore) -> None:
    study = a_study()
    store.add(a_caller(), study)
    for read in (service.get, service.report):
        with pytest.raises(NotFound) as refusal:
            read("other", study.id)
        with pytest.raises(NotFound) as nothing:
            read("other", "st_01JD8Z5M3Q4R6S7T8V9W0XYZAB")
        assert refusal.value.detail == nothing.value.detail


def test_a_page_holds_ones_own_studies_newest_first(
    service: StudyService, store: FakeStudyStore
) -> None:
    own = [a_study() for _ in range(3)]
    for study in own:
        store.add(a_caller(), study)
    page = service.page("acme", limit=2)
    newest_first = sorted((study.id for study in own), reverse=True)
    assert [study.id for study in page.items] == newest_first[:2]
    assert all(study.report is not None for study in page.items)
    rest = service.page("acme", limit=2, cursor=page.next_cursor)
    assert [study.id for study in rest.items] == newest_first[2:]
    assert rest.next_cursor is None
    assert service.page("other", limit=2).items == ()
