"""What SQS hands over, each notice on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.delivery.notices import SqsNotices
from chalicelib.errors import StorageUnavailable
from tests.fakes.deliveries import a_delivery, notice_of
from tests.fakes.operations import FakeMonitor

if TYPE_CHECKING:
    from chalicelib.domain import Notice

NOTICES = [notice_of(a_delivery()) for _ in range(3)]


def event(*bodies: str) -> dict[str, Any]:
    return {"Records": [{"messageId": f"m{n}", "body": body} for n, body in enumerate(bodies)]}


BATCH = event(*(notice.model_dump_json() for notice in NOTICES))


def test_every_notice_is_made() -> None:
    made: list[Notice] = []
    assert SqsNotices(FakeMonitor()).handle(BATCH, made.append) == {"batchItemFailures": []}
    assert made == NOTICES


@pytest.mark.parametrize("error", [StorageUnavailable("down"), ValueError("ops@acme.example")])
def test_one_that_fails_comes_again_and_the_others_do_not(error: Exception) -> None:
    made: list[Notice] = []
    monitor = FakeMonitor()

    def deliver(notice: Notice) -> None:
        if notice == NOTICES[1]:
            raise error
        made.append(notice)

    answer = SqsNotices(monitor).handle(BATCH, deliver)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert made == [NOTICES[0], NOTICES[2]]
    assert monitor.defects == [("delivery", error)]


@pytest.mark.parametrize(
    "body",
    ["", "no json", "{}", "[]", '{"client_id":"acme","event_id":"evt_1","channel":"webhook"}'],
)
def test_what_cannot_be_read_is_dropped_and_told(body: str) -> None:
    made: list[Notice] = []
    monitor = FakeMonitor()
    answer = SqsNotices(monitor).handle(event(body, NOTICES[0].model_dump_json()), made.append)
    assert answer == {"batchItemFailures": []}
    assert made == NOTICES[:1]
    assert len(monitor.defects) == 1


def test_a_field_of_a_newer_release_is_no_obstacle() -> None:
    made: list[Notice] = []
    body = NOTICES[0].model_dump_json()[:-1] + ',"news":1}'
    SqsNotices(FakeMonitor()).handle(event(body), made.append)
    assert made == NOTICES[:1]
