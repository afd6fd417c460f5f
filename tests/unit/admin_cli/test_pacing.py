from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from admin_cli.pacing import Pace
from tests.fakes.clock import FixedClock

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient

OPERATIONS = ["UpdateUsagePlan", "CreateUsagePlan", "CreateApiKey", "GetUsagePlans"]


@given(st.lists(st.tuples(st.sampled_from(OPERATIONS), st.floats(0, 30)), max_size=30))
def test_no_limit_is_ever_passed_and_nobody_waits_for_nothing(
    calls: list[tuple[str, float]],
) -> None:
    clock = FixedClock()
    pace = Pace(clock.monotonic, clock.advance)
    sent = list[tuple[str, float]]()
    for operation, later in calls:
        clock.advance(later)
        came = clock.monotonic()
        pace.keep(operation)
        gaps = {"UpdateUsagePlan": 20, "CreateUsagePlan": 20, "CreateApiKey": 0.2}
        same = [moment for name, moment in sent if name == operation]
        due = max([came, *(moment + gaps.get(operation, 0) for moment in same[-1:])])
        due = max([due, *(moment + 0.1 for _, moment in sent[-1:])])
        assert abs(clock.monotonic() - due) < 0.001
        sent.append((operation, clock.monotonic()))


def test_a_client_is_paced_call_by_call() -> None:
    with mock_aws():
        client: APIGatewayClient = boto3.client("apigateway", region_name="eu-central-1")
        clock = FixedClock()
        Pace(clock.monotonic, clock.advance).attach(client)
        begun = clock.monotonic()
        for number in range(3):
            client.create_usage_plan(name=f"plan{number}")
        assert 40 <= clock.monotonic() - begun < 41
        assert len(client.get_usage_plans()["items"]) == 3
