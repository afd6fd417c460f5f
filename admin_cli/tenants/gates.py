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
    wanted = {
        "/throttle/rateLimit": f"{plan.throttle.rate_per_second:g}",
        "/throttle/burstLimit": str(plan.throttle.burst),
        "/quota/limit": str(plan.requests.limit),
        "/quota/period": PERIODS[plan.requests.period],
    }
    is_now = limits_of(found)
    return [
        {"op": "replace", "path": path, "value": value}
        for path, value in wanted.items()
        if is_now.get(path) != value
    ]


def limits_of(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the limits of a usage plan, as API Gateway shows it, by the paths of patches."""
    parts = {part: found.get(part) or {} for part in ("throttle", "quota")}
    return {
        f"/{part}/{name}": _text(value)
        for part, limits in parts.items()
        for name, value in limits.items()
    }


def _text(value: object) -> str:
    """Return a limit as it is written in a patch: 5 and 5.0 are the same limit."""
    return f"{value:g}" if isinstance(value, float) else str(value)
