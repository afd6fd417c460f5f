"""Studies and stray documents whose time is over, in a time that is bounded."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from chalicelib.domain import REPORT_NAME, StudyStatus
from chalicelib.errors import StorageUnavailable
from chalicelib.services.erasure import ErasureService
from chalicelib.services.expiring import CLIENTS, LOOK_EVERY, STUDIES
from tests.fakes.operations import FakeRetentionStore
from tests.fakes.values import a_client, a_study

if TYPE_CHECKING:
    from datetime import datetime

    from chalicelib.domain import Study
    from tests.unit.services.sweeper.conftest import Yard


def expire(yard: Yard, days: int, client_id: str = "acme") -> Study:
    """Add a study of an age in days, which its id tells, too."""
    from tests.integration.tenants.test_retention import made_at  # noqa: PLC0415

    made = yard.clock() - timedelta(days=days)
    study = a_study(id=made_at(made), created_at=made)
    yard.studies.place(client_id, study)
    return study


def test_each_client_s_studies_are_erased_when_its_own_time_is_over(yard: Yard) -> None:
    yard.directory.put(a_client("brief", retention_days=7))
    brief = [expire(yard, days, "brief") for days in (9, 8, 6)]
    usual = [expire(yard, days) for days in (31, 9)]
    assert yard.sweep() == {"expired": 3}
    assert [yard.studies.get("brief", one.id).status for one in brief] == [
        StudyStatus.DELETED,
        StudyStatus.DELETED,
        StudyStatus.SUCCEEDED,
    ]
    assert [yard.studies.get("acme", one.id).status for one in usual] == [
        StudyStatus.DELETED,
        StudyStatus.SUCCEEDED,
    ]
    assert yard.sweep() == {}


def test_a_shorter_retention_holds_for_what_is_there(yard: Yard) -> None:
    study = expire(yard, 9)
    assert yard.sweep() == {}
    yard.directory.put(yard.client.model_copy(update={"retention_days": 7}))
    assert yard.sweep() == {"expired": 1}
    assert yard.studies.get("acme", study.id).status is StudyStatus.DELETED


def test_a_run_erases_all_that_time_allows_and_the_next_goes_on(yard: Yard) -> None:
    yard.directory.put(a_client("zoo"))
    total = 2 * STUDIES + 5
    for _ in range(total):
        expire(yard, 40)
    lonely = expire(yard, 40, "zoo")
    slow = SlowErasure(yard, seconds=0.3)
    yard.sweeper = replace(yard.sweeper, retention=replace(yard.expiry, erasure=slow))
    first = yard.sweep()["expired"]
    assert 100 < first < total
    # One client's heap does not keep the other waiting for its end.
    assert yard.studies.get("zoo", lonely.id).status is StudyStatus.DELETED
    assert first + yard.sweep()["expired"] == total + 1
    assert yard.sweep() == {}


class PickyErasure(ErasureService):
    """Cannot erase some studies, whatever is tried."""

    def __init__(self, yard: Yard, *bad: Study) -> None:
        inner = yard.erasure
        super().__init__(inner.erasure, inner.documents, inner.sources)
        object.__setattr__(self, "_bad", {study.id for study in bad})

    _bad: set[str]

    def erase(self, client_id: str, study_id: str) -> None:
        if study_id in self._bad:
            raise ValueError("a row that nobody can read")
        super().erase(client_id, study_id)


def picky(yard: Yard, *bad: Study) -> None:
    yard.sweeper = replace(
        yard.sweeper, retention=replace(yard.expiry, erasure=PickyErasure(yard, *bad))
    )


def test_a_study_that_cannot_be_erased_holds_up_nobody(yard: Yard) -> None:
    yard.directory.put(a_client("zoo"))
    good, bad, after = (expire(yard, days) for days in (50, 45, 40))
    lonely = expire(yard, 40, "zoo")
    picky(yard, bad)
    assert yard.sweep() == {"failures": 1, "expired": 3}
    for client_id, study in (("acme", good), ("acme", after), ("zoo", lonely)):
        assert yard.studies.get(client_id, study.id).status is StudyStatus.DELETED
    assert yard.monitor.defect_facts == [{"client": "acme", "study_id": bad.id}]
    # It comes again in each run, and nothing else does.
    assert yard.sweep() == {"failures": 1}
    picky(yard)
    assert yard.sweep() == {"expired": 1}
    assert yard.studies.get("acme", bad.id).status is StudyStatus.DELETED
    assert yard.sweep() == {}


def test_a_client_of_nothing_but_bad_studies_does_not_stop_the_next(yard: Yard) -> None:
    yard.directory.put(a_client("zoo"))
    bad = [expire(yard, 40) for _ in range(STUDIES + 5)]
    lonely = expire(yard, 40, "zoo")
    picky(yard, *bad)
    for _ in range(3):
        yard.sweep()
    assert yard.studies.get("zoo", lonely.id).status is StudyStatus.DELETED
    picky(yard)
    for _ in range(3):
        yard.sweep()
    assert {yard.studies.get("acme", one.id).status for one in bad} == {StudyStatus.DELETED}


def test_a_client_whose_studies_cannot_be_found_does_not_stop_the_next(yard: Yard) -> None:
    class Gaps(FakeRetentionStore):
        def old(self, client_id: str, before: datetime, at_most: int) -> tuple[str, ...]:
            if client_id == "acme":
                raise StorageUnavailable("The table does not answer.")
            return super().old(client_id, before, at_most)

    for number in range(CLIENTS + 1):
        yard.directory.put(a_client(f"zoo{number:02}"))
    expire(yard, 40, f"zoo{CLIENTS}")
    store = Gaps(yard.directory, yard.studies)
    yard.sweeper = replace(yard.sweeper, retention=replace(yard.expiry, store=store))
    assert yard.sweep() == {"failures": 1, "expired": 1}
    assert yard.monitor.defect_facts == [{"client": "acme", "study_id": None}]


def put_report(yard: Yard, days: int) -> str:
    """Store a report that no row names, of an age in days."""
    from tests.integration.tenants.test_retention import made_at  # noqa: PLC0415

    study_id = made_at(yard.clock() - timedelta(days=days))
    yard.documents.put("acme", study_id, REPORT_NAME, b"%PDF")
    return study_id


def test_documents_that_no_row_names_go_when_their_time_is_over(yard: Yard) -> None:
    put_report(yard, 31)
    young = put_report(yard, 29)
    assert yard.sweep() == {"strays": 1}
    assert yard.documents.names() == [f"clients/acme/studies/{young}/{REPORT_NAME}"]
    # It looks again a day later, and not before.
    put_report(yard, 31)
    yard.wait(LOOK_EVERY - timedelta(seconds=1))
    assert yard.sweep() == {}
    yard.wait(timedelta(seconds=1))
    assert yard.sweep() == {"strays": 1}
    yard.wait(timedelta(days=1))
    assert yard.sweep() == {"strays": 1}
    assert yard.documents.names() == []


def test_documents_go_even_if_their_row_cannot(yard: Yard) -> None:
    bad = expire(yard, 40)
    yard.documents.put("acme", bad.id, REPORT_NAME, b"%PDF")
    picky(yard, bad)
    assert yard.sweep() == {"failures": 2}
    assert yard.documents.names() == []


def test_strays_that_time_does_not_allow_for_are_the_next_run_s(yard: Yard) -> None:
    for _ in range(200):
        put_report(yard, 40)
    slow = SlowErasure(yard, seconds=0.3)
    yard.sweeper = replace(yard.sweeper, retention=replace(yard.expiry, erasure=slow))
    first = yard.sweep()["strays"]
    assert 100 < first < 200
    assert first + yard.sweep()["strays"] == 200
    assert yard.sweep() == {}


class SlowErasure(ErasureService):
    """Takes some seconds each time."""

    def __init__(self, yard: Yard, seconds: float) -> None:
        inner = yard.erasure
        super().__init__(inner.erasure, inner.documents, inner.sources)
        object.__setattr__(self, "_wait", lambda: yard.clock.advance(seconds))

    _wait: object

    def erase(self, client_id: str, study_id: str) -> None:
        self._wait()  # type: ignore[operator]
        super().erase(client_id, study_id)
