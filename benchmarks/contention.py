"""How many studies a second one client can store, before its counter stands in the way.

`python -m benchmarks.contention` is a reckoning, not a measurement on AWS: studies arrive by
chance, each is a transaction that holds the item it charges for `--hold` milliseconds, and one
that finds it held is cancelled and comes again with the adapter's own pauses and number of tries.
With shards, each study goes to one of them by chance; one in a block holds the counter too, since
it leases the block. It prints one JSON document: for each rate, with the shards that a plan of
that rate has and without, the share that is stored, how long that takes, and the write units.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import statistics
import sys
from dataclasses import dataclass, field

from chalicelib.tenants.dynamo import backoff
from chalicelib.tenants.metering import LARGEST_BLOCK, shards
from chalicelib.tenants.transactions import TRIES
from tests.fakes.values import a_plan

SECONDS = 30
# Write units of a study of one kilobyte: itself and the item it charges, doubled in a transaction,
# and its place in the index. A lease doubles one more item.
STUDY_UNITS, LEASE_UNITS = 5, 2


@dataclass
class Items:
    """Until when each item is held; the counter is the last one, and alone without shards."""

    split: int
    hold: float
    free_at: list[float] = field(init=False)
    held: list[int] = field(init=False)
    leases: int = 0

    def __post_init__(self) -> None:
        self.free_at = [0.0] * (self.split + 1)
        self.held = [0] * self.split

    def charge(self, place: int, now: float) -> bool:
        """Charge a unit; False when another transaction is in the way."""
        leases = place < self.split and not self.held[place]
        touched = {place, self.split} if leases else {place}
        if any(now < self.free_at[one] for one in touched):
            return False
        for one in touched:
            self.free_at[one] = now + self.hold
        if leases:
            self.held[place] = LARGEST_BLOCK
            self.leases += 1
        if place < self.split:
            self.held[place] -= 1
        return True


def simulate(rate: float, hold: float, split: int) -> dict[str, float]:
    """Return the figures for `rate` studies a second; `hold`: seconds; `split`: shards, or 0."""
    chance = random.Random(11)  # noqa: S311 - a seed, not secrecy
    random.seed(11)  # the adapter's pauses
    items = Items(split, hold)
    # A try: when, which try, when the study came first, where it belongs.
    tries: list[tuple[float, int, float, int]] = []
    moment = 0.0
    while moment < SECONDS:
        moment += chance.expovariate(rate)
        tries.append((moment, 1, moment, chance.randrange(split) if split else 0))
    arrived, refused = len(tries), 0
    waits: list[float] = []
    heapq.heapify(tries)
    while tries:
        now, attempt, came, place = heapq.heappop(tries)
        if items.charge(place, now):
            waits.append(now + hold - came)
        elif attempt == TRIES:
            refused += 1
        else:
            # The refusal itself takes as long as a transaction.
            heapq.heappush(tries, (now + hold + backoff(attempt), attempt + 1, came, place))
    return {
        "shards": split,
        "stored_percent": round(100 * len(waits) / arrived, 2),
        "stored_per_second": round(len(waits) / SECONDS, 1),
        "median_ms": round(statistics.median(waits) * 1e3),
        "p99_ms": round(statistics.quantiles(waits, n=100)[98] * 1e3),
        "refused": refused,
        "write_units": round(STUDY_UNITS + LEASE_UNITS * items.leases / len(waits), 2),
    }


def shards_for(rate: float) -> int:
    """Return how many shards a plan of this rate has; 0: none."""
    plan = a_plan()
    throttle = plan.throttle.model_copy(update={"rate_per_second": rate})
    return shards(plan.model_copy(update={"throttle": throttle}))


def main() -> None:
    """Reckon and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hold", type=float, default=10.0, help="milliseconds")
    parser.add_argument("--rates", type=float, nargs="+", default=[10, 30, 60, 100, 200, 500, 1000])
    options = parser.parse_args()
    figures = {
        f"{rate:g}/s": [
            simulate(rate, options.hold / 1e3, split) for split in sorted({0, shards_for(rate)})
        ]
        for rate in options.rates
    }
    json.dump({"hold_ms": options.hold, "rates": figures}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
