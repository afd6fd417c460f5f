"""A plan's coarse gate, as API Gateway writes it down: throttle and quota of a usage plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chalicelib.domain import Plan

PERIODS: dict[str, Literal["DAY", "WEEK", "MONTH"]] = {
    "day": "DAY",
    "week": "WEEK",
    "month": "MONTH",
}


def gate_patches(found: Mapping[str, Any], plan: Plan) -> list[dict[str, str]]:
    """Return the patches that make a usage plan, as API Gateway shows it, the gate of `plan`."""
    throttle, quota = found.get("throttle") or {}, found.get("quota") or {}
    wanted = {
        "/throttle/rateLimit": (throttle.get("rateLimit"), f"{plan.throttle.rate_per_second:g}"),
        "/throttle/burstLimit": (throttle.get("burstLimit"), str(plan.throttle.burst)),
        "/quota/limit": (quota.get("limit"), str(plan.requests.limit)),
        "/quota/period": (quota.get("period"), PERIODS[plan.requests.period]),
    }
    return [
        {"op": "replace", "path": path, "value": value}
        for path, (is_now, value) in wanted.items()
        if _text(is_now) != value
    ]


def _text(value: object) -> str:
    """Return a limit as it is written in a patch: 5 and 5.0 are the same limit."""
    return f"{value:g}" if isinstance(value, float) else str(value)
