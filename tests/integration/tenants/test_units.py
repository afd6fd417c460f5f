"""The table units that `radgate cost` counts for a study are the ones the adapters ask for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING, Any

import pytest

from admin_cli.cost.work import (
    LOOK_READ_UNITS,
    QUEUE_READ_UNITS,
    QUEUE_WRITE_UNITS,
    STUDY_ITEM_BYTES,
    STUDY_READ_UNITS,
    STUDY_WRITE_UNITS,
)
from chalicelib.domain import Delivery, Finding, Job, StudyStatus, new_id
from chalicelib.tenants import records
from chalicelib.tenants.deliveries import DynamoDeliveryStore
from chalicelib.tenants.directory import DynamoDirectory
from chalicelib.tenants.intake import DynamoIntake
from chalicelib.tenants.jobs import DynamoJobStore
from chalicelib.tenants.ledger import DynamoLedger
from chalicelib.tenants.studies import DynamoStudyStore
from tests.fakes.clock import FixedClock
from tests.fakes.values import NOON, a_caller, a_study

if TYPE_CHECKING:
    from typing import Self

    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.domain import Caller

KB = 1024


def size(item: dict[str, Any]) -> int:
    """Bytes of an item as DynamoDB counts them: names and values; here all are text or numbers."""
    return sum(len(name) + len(str(next(iter(value.values())))) for name, value in item.items())


@dataclass
class Meter:
    """Counts units by DynamoDB's rules from the requests themselves.

    A transaction doubles. An item with a place in the index costs its kilobytes once more there.
    What an update leaves in the table is taken for one kilobyte, as these items are small.
    """

    writes: int = 0
    reads: int = 0
    calls: list[str] = field(default_factory=list)

    @classmethod
    def on(cls, table: Table) -> Self:
        """Return one that counts what is asked of the table from now on."""
        meter = cls()
        table.meta.client.meta.events.register("before-call.dynamodb", meter.note)
        return meter

    def note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.calls.append(model.name)
        body = json.loads(params["body"])
        match model.name:
            case "GetItem" | "Query":
                self.reads += 1
            case "BatchGetItem":
                self.reads += sum(len(one["Keys"]) for one in body["RequestItems"].values())
            case "PutItem":
                self._put(body["Item"], 1)
            case "UpdateItem" | "DeleteItem":
                self.writes += 1
            case "TransactWriteItems":
                for part in body["TransactItems"]:
                    if "Put" in part:
                        self._put(part["Put"]["Item"], 2)
                    else:
                        self.writes += 2
            case other:
                pytest.fail(f"nobody counts {other}")

    def _put(self, item: dict[str, Any], times: int) -> None:
        kilobytes = ceil(size(item) / KB)
        self.writes += kilobytes * times
        if "gsi1pk" in item:
            # Where the item moves within the index, one entry goes and one comes.
            self.writes += kilobytes * 2


def admit(table: Table) -> Caller:
    caller = a_caller()
    table.put_item(Item=records.client_item(caller.client))
    for item in records.api_key_items(caller.key):
        table.put_item(Item=item)
    return caller


def let_in(table: Table, caller: Caller, clock: FixedClock) -> None:
    """Do what comes before the work of every request with an image."""
    directory = DynamoDirectory(table)
    assert directory.identify(caller.key.sha256) is not None
    directory.note_use(caller.key, NOON)
    DynamoLedger(table, clock).usage(caller.client)


def test_a_study_analysed_at_once(table: Table) -> None:
    caller, clock = admit(table), FixedClock(NOON)
    meter = Meter.on(table)
    let_in(table, caller, clock)
    DynamoStudyStore(table, clock).add(caller, a_study())
    assert (meter.writes, meter.reads) == (STUDY_WRITE_UNITS, STUDY_READ_UNITS), meter.calls


def test_a_later_look(table: Table) -> None:
    caller, study = admit(table), a_study()
    store = DynamoStudyStore(table, FixedClock(NOON))
    store.add(caller, study)
    meter = Meter.on(table)
    assert DynamoDirectory(table).identify(caller.key.sha256) is not None
    store.get(caller.client.id, study.id)
    assert (meter.writes, meter.reads) == (0, LOOK_READ_UNITS), meter.calls


def test_what_the_queue_adds(table: Table) -> None:
    """From the post to the mail, less what the same study costs when it is analysed at once."""
    caller, clock = admit(table), FixedClock(NOON)
    done = a_study()
    study = done.model_copy(
        update={"status": StudyStatus.QUEUED, "findings": (), "completed_at": None}
    )
    job = Job(
        study_id=study.id,
        client_id=caller.client.id,
        mode="live",
        object_name=f"uploads/{caller.client.id}/{study.id}-f00d",
        created_at=NOON,
        metered_at=NOON,
    )
    delivery = Delivery(
        id=new_id("evt"),
        client_id=caller.client.id,
        channel="mail",
        kind="study.succeeded",
        study_id=study.id,
        created_at=NOON,
        next_at=NOON,
    )
    meter = Meter.on(table)
    let_in(table, caller, clock)
    jobs = DynamoJobStore(table, clock)
    jobs.waiting(caller.client.id, 10)
    DynamoIntake(table, clock).enqueue(caller, study, job)
    leased = jobs.begin(caller.client.id, study.id)
    assert leased is not None
    assert jobs.finish(leased, done, [delivery])
    deliveries = DynamoDeliveryStore(table)
    told = deliveries.get(caller.client.id, delivery.id, "mail")
    assert told is not None
    claimed = told.model_copy(
        update={"attempt": told.attempt + 1, "next_at": NOON + timedelta(minutes=5)}
    )
    assert deliveries.advance(told, claimed)
    assert deliveries.advance(
        claimed, claimed.model_copy(update={"status": "delivered", "next_at": None})
    )
    added = (meter.writes - STUDY_WRITE_UNITS, meter.reads - STUDY_READ_UNITS)
    assert added == (QUEUE_WRITE_UNITS, QUEUE_READ_UNITS), meter.calls


def test_a_study_of_eighteen_labels_is_no_larger_than_counted() -> None:
    labels = [f"Enlarged Cardiomediastinum {number}" for number in range(18)]
    findings = tuple(
        Finding(label=label, probability=0.912345678, threshold=0.4712345, positive=True)
        for label in labels
    )
    item = records.study_item("a-client-with-a-long-name", a_study(findings=findings))
    kept = sum(len(name) + len(str(value)) for name, value in item.items())
    assert kept <= STUDY_ITEM_BYTES
