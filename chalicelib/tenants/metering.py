"""Charging units to a client's counter, and giving them back."""

from __future__ import annotations

import random
from math import ceil
from typing import TYPE_CHECKING
from zlib import crc32

from chalicelib.errors import StorageUnavailable
from chalicelib.tenants import periods
from chalicelib.tenants.counter import Counter, Unit, number, standing
from chalicelib.tenants.dynamo import backoff
from chalicelib.tenants.transactions import TRIES, transact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from chalicelib.domain import Client, Job, Plan
    from chalicelib.tenants.counter import Counted
    from chalicelib.tenants.transactions import Store

# Studies a second that one item carries, and that a shard is given; reckoned in docs/keys.md.
ONE_CARRIES = 60
SHARD_IS_GIVEN = 40
MOST_SHARDS = 50
LARGEST_BLOCK = 100


def shards(plan: Plan) -> int:
    """Return into how many shards a plan's rate splits the counter; 0: one item carries it."""
    rate = plan.throttle.rate_per_second
    return 0 if rate <= ONE_CARRIES else min(MOST_SHARDS, ceil(rate / SHARD_IS_GIVEN))


def block(plan: Plan) -> int:
    """Return how many units a shard leases at once: a tenth of its share, at most 100.

    So few units lie in other shards than those which need them when the quota runs out.
    """
    return min(LARGEST_BLOCK, max(1, plan.studies.limit // (10 * shards(plan))))


def units(store: Store, client: Client, study_id: str, at: datetime | None) -> Iterator[Unit]:
    """Yield ways to charge a study's unit, the next one when the last was refused.

    `at`: the moment that the unit belongs to; None: none is charged. A unit that is given back in
    the same moment may come too late. Raises QuotaExceeded and StorageUnavailable.
    """
    if at is None:
        yield Unit()
        return
    quota, split = client.plan.studies, shards(client.plan)
    counter = Counter(store.table, client.id, periods.start(quota, at), periods.day(at))
    own = crc32(study_id.encode()) % split if split else None
    yield counter.charge(own, quota.limit)
    for attempt in range(1, TRIES + 1):
        if attempt > 1:
            store.pause(backoff(attempt))
        found = standing(counter)
        # A unit is charged to one item: no lease that is under way makes this sum too large.
        if found.charged >= quota.limit:
            raise periods.refusal(quota, at, store.clock())
        if "leased" in found.whole and number(found.whole, "limit") != quota.limit:
            for writes in counter.adopt(quota.limit, found):
                transact(store.table, writes, store.pause)
        elif (unit := _next(counter, client.plan, own, found)) is not None:
            yield unit
    raise StorageUnavailable("Too many studies arrive at once; please try again.")


def _next(counter: Counter, plan: Plan, own: int | None, found: Counted) -> Unit | None:
    """Return where a unit can be had; None: nowhere yet, what is left is being moved."""
    limit = plan.studies.limit
    left = limit - number(found.whole, "used")
    if own in found.holdings:
        return counter.charge(own, limit)
    if left > 0:
        if own is None:
            return counter.charge(None, limit)
        return counter.lease(own, min(left, block(plan)), limit)
    if found.holdings:
        # Chance keeps those who look at the same moment from all trying the same one.
        return counter.charge(random.choice([*found.holdings]), limit)  # noqa: S311 - no secret
    return None


def giving_back(table: Table, job: Job) -> list[TransactWriteItemTypeDef]:
    """Return the writes that take a job's unit off the item and the day that were charged.

    A shard does not keep it: it goes back to the counter, for all.
    """
    if job.metered_at is None or job.metered_period is None:
        return []
    day = periods.day(job.metered_at)
    counter = Counter(table, job.client_id, job.metered_period, day)
    if job.metered_shard is None:
        return [counter.update(None, "ADD #used :less, #day :less")]
    return [
        counter.update(None, "ADD #used :less, #leased :less"),
        counter.update(job.metered_shard, "ADD #used :less, #leased :less, #day :less"),
    ]
