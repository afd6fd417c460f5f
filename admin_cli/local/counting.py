"""GetUsage for MiniStack 1.5.33: what its usage plans let through, by key and day.

MiniStack enforces throttle and quota, but knows no `GET /usageplans/{id}/usage`: it answers with
the plan itself, in which botocore finds no figures. Without them `usage report --reconcile` could
only be tried on AWS. Here each request that passed a plan's limits is counted, under its day in
UTC. On AWS the same figures come late (see docs/keys.md); here they are there at once. They are
kept with the rest of the state, so a process that is killed forgets what it counted since its last
save.
"""

# ruff: noqa: ANN401, SLF001 - private functions of an untyped module are the whole subject here

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Json = dict[str, Any]
Response = tuple[int, dict[str, str], bytes]
_STATE = "radgate_usage"
_LONGEST_DAYS = 90  # that one call may ask for


def _utc_day() -> date:
    return datetime.now(UTC).date()


class Usage:
    """Requests that passed, by usage plan, key and day.

    `gateway` is the patched module; `today` tells the day that a request counts for.
    """

    def __init__(self, gateway: Any, today: Callable[[], date] = _utc_day) -> None:
        self._gateway = gateway
        self._today = today
        self._counts: dict[str, dict[str, dict[str, int]]] = {}

    def bridge(self) -> None:
        """Count from now on, and keep what was counted with MiniStack's own state."""
        gateway = self._gateway
        gateway._check_quota = self._counting(gateway._check_quota)
        gateway.get_state = self._saved(gateway.get_state)
        gateway.load_persisted_state = self._loaded(gateway.load_persisted_state)

    def _counting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        # The last of the gateway's limits: what it lets through has passed the throttle as well.
        def check(key: Json | None, api_id: str, stage: str) -> Any:
            refusal = original(key, api_id, stage)
            if refusal is None and key is not None:
                for plan_id, _plan, _entry in self._gateway._usage_plans_for_key(
                    key["id"], api_id, stage
                ):
                    self._count(plan_id, key["id"])
            return refusal

        return check

    def _count(self, plan_id: str, key_id: str) -> None:
        days = self._counts.setdefault(plan_id, {}).setdefault(key_id, {})
        today = self._today().isoformat()
        days[today] = days.get(today, 0) + 1

    def _saved(self, original: Callable[[], Json]) -> Callable[[], Json]:
        return lambda: {**original(), _STATE: self._counts}

    def _loaded(self, original: Callable[[Json], None]) -> Callable[[Json], None]:
        def load(data: Json) -> None:
            self._counts = data.get(_STATE) or {}
            original(data)

        return load

    def answer(self, plan_id: str, query: Mapping[str, Any]) -> Response:
        """GetUsage: for every key with a figure, [used, left] for each day that is asked for."""
        gateway = self._gateway
        plan = gateway._usage_plans.get(plan_id)
        if plan is None:
            return gateway._v1_error(  # type: ignore[no-any-return]
                "NotFoundException", "Invalid Usage Plan identifier specified", 404
            )
        try:
            first, last = (
                date.fromisoformat(gateway._qp(query, name)) for name in ("startDate", "endDate")
            )
        except (TypeError, ValueError):
            return gateway._v1_error("BadRequestException", "Invalid date", 400)  # type: ignore[no-any-return]
        if not timedelta(0) <= last - first < timedelta(days=_LONGEST_DAYS):
            return gateway._v1_error("BadRequestException", "Invalid date range", 400)  # type: ignore[no-any-return]
        wanted = gateway._qp(query, "keyId")
        values = {
            key_id: _figures(counts, plan.get("quota") or {}, first, last)
            for key_id, counts in self._counts.get(plan_id, {}).items()
            if wanted in {None, "", key_id} and key_id in gateway._usage_plan_keys.get(plan_id, {})
        }
        body = {"usagePlanId": plan_id, "startDate": str(first), "endDate": str(last)}
        # botocore calls `items` what the API calls `values`.
        return (
            200,
            {"Content-Type": "application/json"},
            json.dumps({**body, "values": values}).encode(),
        )


def _figures(counts: Mapping[str, int], quota: Json, first: date, last: date) -> list[list[int]]:
    """Return [used, left] of each day; what is left counts from the start of the quota's period."""
    figures = []
    day = first
    while day <= last:
        begun = _period_start(day, str(quota.get("period", "DAY"))).isoformat()
        used = sum(count for at, count in counts.items() if begun <= at <= day.isoformat())
        left = max(0, int(quota.get("limit", 0)) - used)
        figures.append([counts.get(day.isoformat(), 0), left])
        day += timedelta(days=1)
    return figures


def _period_start(day: date, period: str) -> date:
    if period == "MONTH":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if period == "WEEK" else day
