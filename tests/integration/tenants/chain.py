"""A chain of audit entries on a table, as tests write and check it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chalicelib.tenants.audit import AuditEntry, Change, Trail
from chalicelib.tenants.audit_check import Verdict, verify
from tests.fakes.clock import FixedClock
from tests.fakes.values import NOON

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

CLOCK = FixedClock(NOON)


def trail_of(table: Table, actor: str = "arn:aws:iam::111122223333:user/ann") -> Trail:
    return Trail(table, lambda: actor, CLOCK, pause=lambda _seconds: None)


def check(table: Table, anchor: str = "") -> Verdict:
    trail = trail_of(table)
    return verify(table.name, trail.head, trail.records, anchor)


def counter(table: Table, name: str) -> int:
    item = table.get_item(Key={"pk": "COUNTER", "sk": name}, ConsistentRead=True).get("Item", {})
    return int(str(item.get("count", 0)))


def step(table: Table, name: str) -> Change:
    """Return the change that counts one up, without any condition of its own."""
    was = counter(table, name)
    item: Any = {"pk": "COUNTER", "sk": name, "count": was + 1}
    return Change(
        action="counter.step",
        subject=name,
        client_id=name,
        before={"count": was},
        after={"count": was + 1},
        writes=[{"Put": {"TableName": table.name, "Item": item}}],
    )


def add(table: Table, count: int, name: str = "acme") -> list[AuditEntry]:
    entries = [trail_of(table).commit(lambda: step(table, name)) for _ in range(count)]
    return [entry for entry in entries if entry is not None]
