"""The audit trail: one unbroken chain, whoever writes at once or dies."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from moto import mock_aws

from chalicelib.errors import StorageUnavailable
from chalicelib.tenants import audit
from chalicelib.tenants.audit import AuditEntry, Change, Trail
from chalicelib.tenants.audit_check import Verdict
from chalicelib.tenants.transactions import TRIES
from tests.fakes.values import NOON
from tests.integration.tenants.chain import CLOCK, add, check, counter, step, trail_of
from tests.integration.tenants.conftest import isolate_transactions, make_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


def test_an_entry_says_who_when_what_before_and_after(table: Table) -> None:
    entry = trail_of(table).commit(lambda: step(table, "acme"))
    assert entry is not None
    assert entry.model_dump(exclude={"previous"}) == {
        "number": 1,
        "at": NOON,
        "actor": "arn:aws:iam::111122223333:user/ann",
        "action": "counter.step",
        "subject": "acme",
        "client_id": "acme",
        "before": {"count": 0},
        "after": {"count": 1},
    }
    assert trail_of(table).latest(10) == (entry,)


def test_the_chain_is_read_newest_first_and_by_client(table: Table) -> None:
    entries = [entry for name in ("acme", "other", "acme") for entry in add(table, 1, name)]
    trail = trail_of(table)
    assert trail.latest(10) == tuple(entries[::-1])
    assert trail.latest(2) == tuple(entries[:0:-1])
    assert trail.latest(10, "acme") == (entries[2], entries[0])
    assert trail.latest(1, "acme") == (entries[2],)
    assert trail.latest(10, "nobody") == ()


def test_where_nothing_changes_nothing_is_written(table: Table) -> None:
    assert trail_of(table).commit(lambda: None) is None
    assert table.scan()["Items"] == []
    assert check(table).entries == 0


def test_a_change_that_is_refused_leaves_no_entry(table: Table) -> None:
    refused: Any = {
        "Put": {
            "TableName": table.name,
            "Item": {"pk": "X", "sk": "X"},
            "ConditionExpression": "attribute_exists(pk)",
        }
    }
    tries = list[int]()

    def plan() -> Change:
        tries.append(1)
        return Change("x", "x", None, None, {}, [refused])

    with pytest.raises(StorageUnavailable, match="Too many changes"):
        trail_of(table).commit(plan)
    assert len(tries) == TRIES
    assert table.scan()["Items"] == []


def hinder(table: Table, code: str, times: int) -> None:
    """Have the table cancel as many transactions for this reason."""
    reasons = [{"Code": "None"}, {"Code": "None"}, {"Code": code}]
    error = {"Code": "TransactionCanceledException", "Message": "secret-detail"}
    left = [times]

    def answer(**_: object) -> Any:
        left[0] -= 1
        told = {"Error": error, "CancellationReasons": reasons}
        return (AWSResponse("", 400, HTTPHeaders(), None), told) if left[0] >= 0 else None

    # Not before it is sent, which moto would answer as well, and carry out.
    table.meta.client.meta.events.register("before-call.dynamodb.TransactWriteItems", answer)


PASSING = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"]


@pytest.mark.parametrize("code", PASSING)
def test_what_stands_in_the_way_for_now_is_waited_for(table: Table, code: str) -> None:
    hinder(table, code, 3)
    pauses = list[float]()
    trail = Trail(table, lambda: "ann", CLOCK, pauses.append)
    plans = list[int]()

    def plan() -> Change:
        plans.append(1)
        return step(table, "acme")

    assert trail.commit(plan) is not None
    assert (len(plans), len(pauses)) == (4, 3)
    assert all(0 <= pause <= 0.1 for pause in pauses)
    assert (counter(table, "acme"), check(table).entries) == (1, 1)


@pytest.mark.parametrize("code", PASSING)
def test_what_never_passes_ends_in_storage_unavailable(table: Table, code: str) -> None:
    hinder(table, code, TRIES)
    with pytest.raises(StorageUnavailable, match="Too many changes"):
        add(table, 1)
    assert table.scan()["Items"] == []


def test_what_no_other_try_would_mend_is_not_tried_again(table: Table) -> None:
    hinder(table, "ValidationError", 1)
    with pytest.raises(StorageUnavailable) as raised:
        add(table, 1)
    assert "secret-detail" not in raised.value.detail
    assert table.scan()["Items"] == []


def test_a_long_chain_is_read_in_parts(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_PAGE", 3)
    for count in (3, 4):  # up to the edge of a part, and over it
        add(table, count)
        assert check(table).broken is None
    assert check(table).entries == 7


def test_writers_at_once_never_fork_the_chain_and_lose_no_change(table: Table) -> None:
    conflicts = isolate_transactions(table, meeting=True)
    all_have_read, first = threading.Barrier(4), threading.local()

    def plan() -> Change:
        change = step(table, "acme")
        if not hasattr(first, "planned"):
            first.planned = True
            all_have_read.wait(10)
        return change

    def write(_: int) -> AuditEntry | None:
        return Trail(table, lambda: "ann", CLOCK).commit(plan)

    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(write, range(16)))
    assert conflicts
    assert sorted(entry.number for entry in made if entry) == list(range(1, 17))
    assert counter(table, "acme") == 16
    assert check(table) == Verdict(entries=16, anchor=check(table).anchor)


class Writers(RuleBasedStateMachine):
    """Writers that finish, overtake each other at the worst moment, or die on either side of it."""

    def __init__(self) -> None:
        super().__init__()
        self.mock = mock_aws()
        self.mock.start()
        self.table = make_table()
        self.counts = {"acme": 0, "other": 0}
        self.order = list[str]()
        self.anchor = ""

    def teardown(self) -> None:
        self.mock.stop()

    def stepped(self, name: str) -> None:
        self.counts[name] += 1
        self.order.append(name)

    @rule(name=st.sampled_from(["acme", "other"]))
    def write(self, name: str) -> None:
        add(self.table, 1, name)
        self.stepped(name)

    @rule(name=st.sampled_from(["acme", "other"]), by=st.integers(1, 3))
    def be_overtaken(self, name: str, by: int) -> None:
        """Others write between this writer's reading and its writing, `by` times."""
        left = [by]

        def plan() -> Change:
            change = step(self.table, name)
            if left[0]:
                left[0] -= 1
                self.write(name)
            return change

        trail_of(self.table).commit(plan)
        self.stepped(name)

    @rule(name=st.sampled_from(["acme", "other"]), late=st.booleans())
    def die(self, name: str, *, late: bool) -> None:
        class Died(BaseException):
            pass

        def die(**_: object) -> None:
            raise Died

        events: Any = self.table.meta.client.meta.events
        moment = f"{'after' if late else 'before'}-call.dynamodb.TransactWriteItems"
        events.register(moment, die)
        try:
            add(self.table, 1, name)
        except Died:
            if late:
                self.stepped(name)
        finally:
            events.unregister(moment, die)

    @rule()
    def keep_the_anchor(self) -> None:
        self.anchor = check(self.table).anchor if self.order else ""

    @invariant()
    def every_change_has_its_entry_in_one_chain(self) -> None:
        verdict = check(self.table, self.anchor)
        assert verdict.broken is None
        assert verdict.entries == len(self.order)
        trail = [entry.subject for entry in trail_of(self.table).latest(1000)]
        assert trail[::-1] == self.order
        assert {name: counter(self.table, name) for name in self.counts} == self.counts


TestWriters = Writers.TestCase
TestWriters.settings = settings(max_examples=5, stateful_step_count=6, deadline=None)
