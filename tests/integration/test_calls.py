"""How often a queued study calls AWS, counted; docs/queue.md reckons with these numbers."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import app
from chalicelib import aws
from tests.fakes.receiver import receiving
from tests.integration.test_one_id import admit_told, as_local_stage, notices
from tests.integration.test_worker_function import event

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from mypy_boto3_dynamodb.service_resource import Table

POST = {"GetItem": 1, "PutObject": 1, "TransactWriteItems": 1, "Query": 1, "SendMessage": 1}
WORK = {
    "BatchGetItem": 2,
    "TransactWriteItems": 2,
    "GetObject": 1,
    "UpdateItem": 1,
    "PutObject": 1,  # the report; this radiograph has no finding and so no heatmap
    "SendMessage": 2,
    "DeleteObject": 1,
}
TELL = {"BatchGetItem": 9, "PutItem": 4, "SendEmail": 1}
# Of a new process: the key and the client, that the key was used, the session for the client's
# objects, the address that a mail leads to.
FIRST_POST = {"GetItem": 1, "BatchGetItem": 1, "UpdateItem": 1, "AssumeRole": 1}
FIRST_TELL = {"BatchGetItem": 1}


def test_a_queued_study_calls_aws_as_often_as_the_operator_s_page_says(
    table: Table, chest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_local_stage(monkeypatch)
    made = Counter[str]()

    def note(model: Any, **_: object) -> None:
        made[model.name] += 1

    # Only what the functions call: the test has clients of another session.
    aws._session().events.register("before-call.*.*", note)  # noqa: SLF001 - as it makes clients

    def counted(step: Callable[[], object]) -> Counter[str]:
        made.clear()
        step()
        return Counter(made)

    with receiving() as receiver:
        gateway = admit_told(table, receiver.port)
        post = partial(gateway.call, "POST", "/studies", body=chest)
        for first in (True, False):
            assert counted(post) == Counter(POST) + Counter(FIRST_POST if first else {})
            assert counted(partial(app.worker, event(), None)) == Counter(WORK)
            told = counted(partial(app.deliver, notices(), None))
            assert told == Counter(TELL) + Counter(FIRST_TELL if first else {})
        assert len(receiver.requests) == 2
