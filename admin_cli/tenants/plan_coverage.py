"""Clients' usage plans on the API: one that was made anew, after `destroy`, has none of them yet.

Without its plan a key opens nothing. The plans and keys themselves outlive the API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from admin_cli.deploying.deployment_record import Deployment
    from admin_cli.gateway import Gateway


def cover_plans(
    gateway: Gateway,
    plans: Mapping[str, Mapping[str, Any]],
    made: Deployment,
    tell: Callable[[str], None],
) -> None:
    """Put every usage plan of `plans`, by id, onto the stage of the API where it is not.

    API Gateway takes one such change in 20 seconds; the gateway's client should keep that pace.
    Raises CliError.
    """
    for plan in uncovered(plans, (made.rest_api_id, made.api_stage)):
        tell(f"usage plan {plans[plan].get('name')} covers the API")
        gateway.cover(plan)


def uncovered(plans: Mapping[str, Mapping[str, Any]], api: tuple[str, str]) -> Iterator[str]:
    """The ids of usage plans that do not cover the stage of the API: `api` has the ids of both."""
    for plan, facts in plans.items():
        covered = {(one.get("apiId"), one.get("stage")) for one in facts.get("apiStages") or []}
        if api not in covered:
            yield plan
