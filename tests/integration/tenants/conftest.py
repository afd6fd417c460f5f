"""A table of the foundation's shape on moto, with the isolation that real transactions have."""

from __future__ import annotations

import json
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from moto import mock_aws
from moto.core.models import botocore_stubber

from tests.foundation_table import table_definition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb.service_resource import Table

_CONFLICT: dict[str, object] = {
    "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
    "message": "Transaction cancelled",
    "CancellationReasons": [
        {"Code": "None"},
        {"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"},
    ],
}


@pytest.fixture
def table() -> Iterator[Table]:
    with mock_aws():
        yield make_table()


def make_table() -> Table:
    once = Config(retries={"total_max_attempts": 1})  # a failure in a test is meant
    dynamodb = boto3.resource("dynamodb", region_name="eu-central-1", config=once)
    # The least that a foundation may project; adapters must not rely on more.
    return dynamodb.create_table(TableName="radgate-test", **table_definition("KEYS_ONLY"))


def isolate_transactions(table: Table, *, meeting: bool = False) -> list[str]:
    """Make moto treat transactions that overlap as DynamoDB does: one of two is cancelled.

    moto has no isolation at all: threads would overwrite each other's tables. Here a call that
    comes while another is under way is cancelled with TransactionConflict when it is a
    transaction, and waits otherwise. Returns a list to which each conflict adds an entry.

    `meeting`: the first transaction ends only once another has met it, so that one surely does;
    for threads that all send transactions next.
    """
    lock, conflicts, met = Lock(), list[str](), Event()
    if not meeting:
        met.set()

    def serve(event_name: str, request: Any, **_: Any) -> Any:
        transaction = event_name.endswith(".TransactWriteItems")
        if not lock.acquire(blocking=not transaction):
            conflicts.append(event_name)
            met.set()
            return refusal(_CONFLICT)
        try:
            if transaction:
                met.wait(10)
            return botocore_stubber(event_name, request)
        finally:
            lock.release()

    events: Any = table.meta.client.meta.events
    # botocore would call both, and moto's own handler would not wait for the lock.
    events.unregister("before-send", botocore_stubber)
    events.register("before-send.dynamodb.*", serve)
    return conflicts


def refusal(body: dict[str, object]) -> AWSResponse:
    """Return DynamoDB's answer 400 with this body, for a handler of `before-send` to give."""
    return AWSResponse("https://dynamodb.example", 400, HTTPHeaders(), _Raw(json.dumps(body)))


class _Raw:
    def __init__(self, text: str) -> None:
        self._text = text

    def stream(self) -> Iterator[bytes]:
        yield self._text.encode()
