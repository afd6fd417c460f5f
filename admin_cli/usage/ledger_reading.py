"""What clients used, day by day, as the ledger counted it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from chalicelib.domain import Plan
from chalicelib.tenants import records
from chalicelib.tenants.dynamo import Slice, query

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table

_LONGEST_PERIOD = timedelta(days=31)


def studies_by_day(table: Table, client_id: str, first: date, last: date) -> dict[date, int]:
    """Return the live studies of each day that had any, from `first` to `last`, both included.

    Days are of UTC. One item holds a whole period of the client's plan, each day under its date;
    after a change of plan a day may stand in two items, and its studies add up. Raises
    StorageUnavailable.
    """
    days: dict[date, int] = {}
    # A period that began before `first` may reach into the time that is asked for.
    begin = f"{records.USAGE_PREFIX}{first - _LONGEST_PERIOD}"
    after = {"pk": records.partition(client_id), "sk": begin}
    for item in query(
        table, Slice(records.partition(client_id), records.USAGE_PREFIX, after=after)
    ):
        for name, count in item.items():
            day = _date(name)
            if day is not None and first <= day <= last:
                days[day] = days.get(day, 0) + int(str(count))
    return dict(sorted(days.items()))


def terms_at(table: Table, client_id: str, moment: datetime) -> Plan | None:
    """Return the plan that a client had at a moment; its first one when it came later.

    None for a client from before terms were kept. Raises StorageUnavailable.
    """
    wanted = Slice(records.partition(client_id), records.TERMS_PREFIX)
    items = query(table, wanted)
    until = f"{records.TERMS_PREFIX}{moment:%Y-%m-%dT%H:%M:%S.%fZ}"
    held = [item for item in items if item["sk"] <= until] or items[:1]
    return Plan.model_validate_json(held[-1]["plan"], extra="ignore") if held else None


def _date(name: str) -> date | None:
    try:
        return date.fromisoformat(name)
    except ValueError:
        return None
