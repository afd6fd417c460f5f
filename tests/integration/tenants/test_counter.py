"""A counter in shards is as exact as one in one piece: under concurrency, change, and crashes."""

from __future__ import annotations

import itertools
import tomllib
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from moto import mock_aws

from admin_cli.usage.ledger_reading import studies_by_day
from chalicelib.domain import Idempotency, Job, Plan, Quota, StudyStatus, Throttle
from chalicelib.errors import QuotaExceeded, StorageUnavailable
from chalicelib.tenants import metering
from chalicelib.tenants.counter import Counter, standing
from chalicelib.tenants.intake import DynamoIntake
from chalicelib.tenants.jobs import DynamoJobStore
from chalicelib.tenants.ledger import DynamoLedger
from chalicelib.tenants.studies import DynamoStudyStore
from tests.fakes.clock import FixedClock
from tests.fakes.values import NOON, a_caller, a_client, a_key, a_plan, a_study
from tests.integration.tenants.conftest import isolate_transactions, make_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.domain import Caller

ROOT = Path(__file__).resolve().parents[3]
MONTH = NOON.replace(day=1, hour=0)
CALM, BUSY, BUSIER = 5.0, 200.0, 400.0  # requests a second: none, 5 and 10 shards


def terms(studies: int, rate: float, period: str = "month") -> Plan:
    quota = Quota.model_validate({"limit": studies, "period": period})
    return a_plan(studies=quota.limit).model_copy(
        update={"studies": quota, "throttle": Throttle(rate_per_second=rate, burst=10)}
    )


def caller_of(plan: Plan) -> Caller:
    return a_caller(a_client(plan=plan), a_key())


class Studies:
    """Everything that charges units and gives them back, on one table."""

    def __init__(self, table: Table) -> None:
        self.table, self.clock = table, FixedClock(NOON)
        self.store = DynamoStudyStore(table, self.clock, _no_pause)
        self.intake = DynamoIntake(table, self.clock, _no_pause)
        self.jobs = DynamoJobStore(table, self.clock, _no_pause)

    def enqueue(self, plan: Plan, word: Idempotency | None = None) -> Job:
        now = self.clock()
        study = a_study(
            status=StudyStatus.QUEUED, completed_at=None, label=None, findings=(), created_at=now
        )
        job = Job(
            study_id=study.id,
            client_id="acme",
            mode="live",
            object_name="uploads/acme/x",
            created_at=now,
            metered_at=now,
        )
        stands = self.intake.enqueue(caller_of(plan), study, job, word)
        return job.model_copy(update={"study_id": stands.id})

    def fail(self, job: Job) -> bool:
        leased = self.jobs.begin("acme", job.study_id)
        assert leased is not None
        failed = a_study(id=job.study_id).model_copy(update={"status": StudyStatus.FAILED})
        return self.jobs.fail(leased, failed)

    def used(self, plan: Plan) -> int:
        return DynamoLedger(self.table, self.clock).usage(a_client(plan=plan)).used


def _no_pause(_: float) -> None:
    """What waits in tests: the threads that are in the way have the time that they need."""


@pytest.fixture
def studies(table: Table) -> Studies:
    return Studies(table)


# --- how many shards --------------------------------------------------------------------


def test_of_the_catalogue_only_the_largest_plan_has_shards() -> None:
    catalogue = tomllib.loads((ROOT / "plans.toml").read_text())
    plans = {name: Plan(name=name, **entry) for name, entry in catalogue.items()}
    assert {name: metering.shards(plan) for name, plan in plans.items()} == {
        "trial": 0,
        "clinic": 0,
        "hospital": 0,
        "network": 5,
    }


@pytest.mark.parametrize(
    ("rate", "shards"), [(0.5, 0), (60, 0), (61, 2), (200, 5), (1000, 25), (99_999, 50)]
)
def test_shards_follow_from_the_rate(rate: float, shards: int) -> None:
    assert metering.shards(terms(100, rate)) == shards


def test_a_small_plan_has_the_one_item_it_always_had(studies: Studies) -> None:
    studies.store.add(caller_of(terms(9, CALM)), a_study())
    items = [item for item in studies.table.scan()["Items"] if str(item["sk"]).startswith("USAGE")]
    assert items == [{"pk": "CLIENT#acme", "sk": "USAGE#2026-11-01", "used": 1, "2026-11-18": 1}]


# --- concurrency ------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(
    parallel=st.integers(2, 12),
    used=st.integers(0, 6),
    left=st.integers(0, 12),
    rate=st.sampled_from([BUSY, BUSIER]),
    queued=st.booleans(),
)
def test_of_n_parallel_studies_with_m_units_left_the_smaller_number_succeeds(
    parallel: int, used: int, left: int, rate: float, *, queued: bool
) -> None:
    with mock_aws():
        table = make_table()
        plan = terms(max(1, used + left), rate)
        limit = plan.studies.limit
        conflicts = isolate_transactions(table)
        store, intake = DynamoStudyStore(table, FixedClock(NOON)), Studies(table)
        intake.intake = DynamoIntake(table, intake.clock)  # with pauses
        for _ in range(limit - left):
            store.add(caller_of(plan), a_study())

        def try_one(_: int) -> bool:
            try:
                if queued:
                    intake.enqueue(plan)
                else:
                    store.add(caller_of(plan), a_study())
            except QuotaExceeded:
                return False
            return True

        with ThreadPoolExecutor(parallel) as threads:
            succeeded = sum(threads.map(try_one, range(parallel)))
        assert succeeded == min(parallel, left), f"{len(conflicts)} conflicts"
        assert intake.used(plan) == limit - left + succeeded
        assert len(store.page("acme", 100, None, None).items) == limit - left + succeeded


def test_one_idempotency_key_in_parallel_is_one_unit(table: Table) -> None:
    isolate_transactions(table)
    plan, studies = terms(9, BUSY), Studies(table)
    studies.intake = DynamoIntake(table, studies.clock)
    word = Idempotency(key="once", fingerprint="a" * 64)
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: studies.enqueue(plan, word), range(8)))
    assert len({job.study_id for job in made}) == 1
    assert studies.used(plan) == 1


def test_two_quotas_at_once_never_pass_the_one_that_is_asked_for(table: Table) -> None:
    """As while functions still hold the old plan: each request is judged by its own quota."""
    isolate_transactions(table)
    store, succeeded = DynamoStudyStore(table, FixedClock(NOON)), list[int]()

    def try_one(number: int) -> None:
        limit = 6 if number % 2 else 10
        try:
            store.add(caller_of(terms(limit, BUSY)), a_study())
        except (QuotaExceeded, StorageUnavailable):
            return
        succeeded.append(limit)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(try_one, range(24)))
    assert succeeded.count(6) <= 6
    assert len(succeeded) <= 10
    assert Studies(table).used(terms(10, BUSY)) == len(succeeded)


# --- change -----------------------------------------------------------------------------


def add_all(studies: Studies, plan: Plan) -> int:
    """Add studies until the quota ends; return how many it took."""
    for number in itertools.count():
        try:
            studies.store.add(caller_of(plan), a_study(created_at=studies.clock()))
        except QuotaExceeded:
            return number
    raise AssertionError


@pytest.mark.parametrize(("before", "after"), [(CALM, BUSY), (BUSY, CALM), (BUSIER, BUSY)])
@pytest.mark.parametrize("limit", [3, 30])
def test_a_change_of_plan_in_mid_period_counts_on(
    studies: Studies, before: float, after: float, limit: int
) -> None:
    for _ in range(7):
        studies.store.add(caller_of(terms(20, before)), a_study())
    assert studies.used(terms(limit, after)) == 7
    assert add_all(studies, terms(limit, after)) == max(0, limit - 7)
    # Up and down again: what was leased in between is not to be had under the lower quota.
    raised = add_all(studies, terms(40, before))
    assert studies.used(terms(20, after)) == max(7, limit) + raised == max(40, limit)
    assert add_all(studies, terms(20, after)) == 0


def test_the_next_period_begins_at_nought(studies: Studies) -> None:
    plan = terms(3, BUSY, "day")
    assert add_all(studies, plan) == 3
    studies.clock.now = NOON + timedelta(hours=12, microseconds=-1)
    assert add_all(studies, plan) == 0
    studies.clock.advance(1)
    assert studies.used(plan) == 0
    assert add_all(studies, plan) == 3


def test_a_report_adds_the_shards_up(studies: Studies) -> None:
    for day in (18, 18, 19, 19, 19):
        studies.store.add(caller_of(terms(99, BUSY)), a_study(created_at=NOON.replace(day=day)))
    days = studies_by_day(studies.table, "acme", date(2026, 11, 1), date(2026, 11, 30))
    assert days == {date(2026, 11, 18): 2, date(2026, 11, 19): 3}


def test_usage_is_one_query_of_few_items(studies: Studies) -> None:
    plan = terms(500, BUSY)
    for _ in range(30):
        studies.store.add(caller_of(plan), a_study())
    calls = list[str]()

    def note(event_name: str, **_: object) -> None:
        calls.append(event_name.rsplit(".", 1)[-1])

    studies.table.meta.client.meta.events.register_first("before-send.dynamodb.*", note)
    assert studies.used(plan) == 30
    assert calls == ["Query"]
    found = standing(Counter(studies.table, "acme", MONTH))
    assert len(found.parts) <= metering.shards(plan) == 5


def test_a_busy_plan_charges_one_shard_and_leases_seldom(studies: Studies) -> None:
    plan, writes = terms(10_000, BUSY), list[int]()

    def note(params: dict[str, Any], **_: object) -> None:
        writes.append(str(params["body"]).count('"Update"'))

    studies.table.meta.client.meta.events.register("before-call.dynamodb.TransactWriteItems", note)
    for _ in range(40):
        studies.store.add(caller_of(plan), a_study())
    assert metering.block(plan) == 100
    assert sum(count == 2 for count in writes) <= 5  # leases, each of 100 units
    assert set(writes) == {1, 2}


# --- whatever happens -------------------------------------------------------------------


class Shards(RuleBasedStateMachine):
    """Any order of studies, failures, plans and crashes; the model is a plain number."""

    plans = st.builds(terms, st.sampled_from([1, 4, 9, 30]), st.sampled_from([CALM, BUSY, BUSIER]))

    def __init__(self) -> None:
        super().__init__()
        self.account = mock_aws()
        self.account.start()
        self.studies = Studies(make_table())
        self.charged = 0
        self.plan = terms(9, BUSY)
        self.queued = list[Job]()
        self.calls_left = 10**9
        events: Any = self.studies.table.meta.client.meta.events
        events.register_first("before-send.dynamodb.TransactWriteItems", self._serve)

    def teardown(self) -> None:
        self.account.stop()

    def _serve(self, **_: object) -> None:
        self.calls_left -= 1
        if self.calls_left < 0:
            raise EndpointConnectionError(endpoint_url="https://dynamodb.example")

    @rule(plan=plans)
    def change_plan(self, plan: Plan) -> None:
        self.plan = plan

    @rule(times=st.integers(1, 6))
    def add(self, times: int) -> None:
        for _ in range(times):
            with self._one_more():
                self.studies.store.add(caller_of(self.plan), a_study())

    @rule()
    def add_twice(self) -> None:
        study = a_study()
        with self._one_more() as made:
            self.studies.store.add(caller_of(self.plan), study)
        if made:
            self.studies.store.add(caller_of(self.plan), study)

    @rule()
    def enqueue(self) -> None:
        with self._one_more():
            self.queued.append(self.studies.enqueue(self.plan))

    @precondition(lambda self: self.queued)
    @rule(which=st.integers(0, 99))
    def fail(self, which: int) -> None:
        assert self.studies.fail(self.queued.pop(which % len(self.queued)))
        self.charged -= 1

    @rule(calls=st.integers(0, 3))
    def crash(self, calls: int) -> None:
        """The function dies, or the table does, after so many transactions."""
        self.calls_left = calls
        study = a_study()
        try:
            self.studies.store.add(caller_of(self.plan), study)
        except (QuotaExceeded, StorageUnavailable):
            pass
        else:
            self.charged += 1
        finally:
            self.calls_left = 10**9

    def _one_more(self) -> Expect:
        return Expect(self)

    @invariant()
    def what_is_charged_is_what_is_counted(self) -> None:
        assert self.studies.used(self.plan) == self.charged
        found = standing(Counter(self.studies.table, "acme", MONTH))
        parts = found.parts.values()
        assert int(found.whole.get("leased", 0)) == sum(int(one["leased"]) for one in parts)
        assert all(0 <= int(one["used"]) <= int(one["leased"]) for one in parts)
        days = studies_by_day(self.studies.table, "acme", date(2026, 11, 1), date(2026, 11, 30))
        assert sum(days.values()) == self.charged


class Expect:
    """Holds that a study is refused if, and only if, the model has no unit left."""

    def __init__(self, machine: Shards) -> None:
        self._machine = machine
        self._left = machine.plan.studies.limit - machine.charged

    def __enter__(self) -> list[bool]:
        self._made = list[bool]()
        if self._left > 0:
            self._made.append(True)
        return self._made

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        if kind is None:
            assert self._left > 0
            self._machine.charged += 1
            return False
        assert kind is not QuotaExceeded or self._left <= 0
        return kind is QuotaExceeded


TestShards = Shards.TestCase
TestShards.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
