"""Usage and invoices from the ledger that the studies themselves have written."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.stub import Stubber

from admin_cli.gateway import Gateway
from admin_cli.usage.ledger_reading import studies_by_day, terms_at
from chalicelib.domain import Quota
from chalicelib.errors import QuotaExceeded
from chalicelib.tenants.studies import DynamoStudyStore
from tests.fakes.values import NOON, a_caller, a_client, a_key, a_plan, a_study

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient

    from chalicelib.domain import Client
    from tests.integration.admin_cli.conftest import World

NOVEMBER = (date(2026, 11, 1), date(2026, 11, 30))


def use(world: World, client: Client, *days: int, month: int = 11) -> None:
    store = DynamoStudyStore(world.table, world.clock)
    for day in days:
        moment = datetime(2026, month, day, 23, 59, tzinfo=UTC)
        store.add(a_caller(client), a_study(created_at=moment))


@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_days_are_counted_whatever_the_plan_s_period_is(world: World, period: str) -> None:
    plan = a_plan().model_copy(update={"studies": Quota(limit=9, period=period)})
    client = a_client(plan=plan)
    use(world, client, 30, month=10)
    use(world, client, 1, 2, 2, 30)
    use(world, client, 1, month=12)
    days = studies_by_day(world.table, "acme", *NOVEMBER)
    assert days == {date(2026, 11, 1): 1, date(2026, 11, 2): 2, date(2026, 11, 30): 1}
    assert studies_by_day(world.table, "acme", date(2026, 11, 2), date(2026, 11, 2)) == {
        date(2026, 11, 2): 2
    }
    assert studies_by_day(world.table, "acme-2", *NOVEMBER) == {}


def test_a_day_on_which_the_period_changed_adds_up(world: World) -> None:
    monthly, daily = (
        a_plan().model_copy(update={"studies": Quota(limit=9, period=period)})
        for period in ("month", "day")
    )
    use(world, a_client(plan=monthly), 1, 18, 18)
    use(world, a_client(plan=daily), 18, 1)
    days = studies_by_day(world.table, "acme", *NOVEMBER)
    assert days == {date(2026, 11, 1): 2, date(2026, 11, 18): 3}


def test_what_was_refused_or_made_with_a_test_key_is_not_billed(world: World) -> None:
    client = a_client(plan=a_plan(1))
    use(world, client, 5)
    with pytest.raises(QuotaExceeded):
        use(world, client, 6)
    store = DynamoStudyStore(world.table, world.clock)
    store.add(a_caller(client, a_key(mode="test")), a_study(mode="test"))
    assert studies_by_day(world.table, "acme", *NOVEMBER) == {date(2026, 11, 5): 1}


def test_the_terms_of_a_month_are_those_at_its_end(world: World) -> None:
    registry = world.registry()
    registry.create_client("acme", "Acme", "it@acme.example", "clinic")  # 18 November
    world.clock.advance(20 * 86400)
    registry.update_client("acme", plan="trial")

    def plan(moment: datetime) -> str | None:
        terms = terms_at(world.table, "acme", moment)
        return None if terms is None else terms.name

    assert plan(datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)) == "clinic"
    assert plan(datetime(2026, 12, 31, tzinfo=UTC)) == "trial"
    assert plan(NOON.replace(month=1)) == "clinic"
    assert terms_at(world.table, "ghost", NOON) is None


def test_a_deleted_client_keeps_ledger_and_terms(world: World) -> None:
    client = world.registry().create_client("acme", "Acme", "it@acme.example", "clinic")
    use(world, client, 18, 19)
    world.accounts.begin_deletion("acme", world.clock())
    former = world.accounts.bury(client, world.clock(), {})
    assert world.accounts.formers() == (former,)
    assert sum(studies_by_day(world.table, "acme", *NOVEMBER).values()) == 2
    terms = terms_at(world.table, "acme", NOON.replace(day=30))
    assert terms == client.plan


def requests(pages: list[dict[str, list[list[int]]]]) -> int | None:
    """Return what the gateway makes of these answers of GetUsage."""
    client: APIGatewayClient = boto3.client("apigateway", region_name="eu-central-1")
    with Stubber(client) as stub:
        for number, items in enumerate(pages, 1):
            sent = {"usagePlanId": "plan1", "startDate": "2026-11-01", "endDate": "2026-11-30"}
            if number > 1:
                sent["position"] = f"page{number}"
            answer = {"usagePlanId": "plan1", "items": items}
            if number < len(pages):
                answer["position"] = f"page{number + 1}"
            stub.add_response("get_usage", answer, sent)
        return Gateway(client, "test", "api", "v1").requests("plan1", *NOVEMBER)


def test_the_gateway_s_requests_are_summed_over_keys_days_and_pages() -> None:
    assert requests([{"k1": [[3, 97], [4, 93]], "k2": [[1, 99]]}, {"k3": [[10, 90]]}]) == 18
    assert requests([{"k1": [[0, 100]]}]) == 0


def test_a_gateway_that_has_no_figures_says_so() -> None:
    # As the local AWS always answers, and AWS within the first half hour.
    assert requests([{}]) is None
