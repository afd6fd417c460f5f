"""How many studies a second one client can store, before its one counter stands in the way.

`python -m benchmarks.contention` is a reckoning, not a measurement on AWS: studies arrive by
chance, each is a transaction that holds the client's counter for `--hold` milliseconds, and one
that finds it held is cancelled and comes again with the adapter's own pauses and number of tries.
It prints one JSON document: for each rate the share that is stored and how long that takes.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import statistics
import sys

from chalicelib.tenants.dynamo import backoff
from chalicelib.tenants.transactions import TRIES

SECONDS = 30


def simulate(rate: float, hold: float) -> dict[str, float]:
    """Return the figures for `rate` studies a second; `hold`: seconds of one transaction."""
    chance = random.Random(11)  # noqa: S311 - a seed, not secrecy
    # A try: when, which try, when the study came first.
    tries: list[tuple[float, int, float]] = []
    moment = 0.0
    while moment < SECONDS:
        moment += chance.expovariate(rate)
        tries.append((moment, 1, moment))
    arrived, free_at, refused = len(tries), 0.0, 0
    waits: list[float] = []
    heapq.heapify(tries)
    while tries:
        now, attempt, came = heapq.heappop(tries)
        if now >= free_at:
            free_at = now + hold
            waits.append(free_at - came)
        elif attempt == TRIES:
            refused += 1
        else:
            # The refusal itself takes as long as a transaction.
            heapq.heappush(tries, (now + hold + backoff(attempt), attempt + 1, came))
    return {
        "stored_percent": round(100 * len(waits) / arrived, 2),
        "stored_per_second": round(len(waits) / SECONDS, 1),
        "median_ms": round(statistics.median(waits) * 1e3),
        "p99_ms": round(statistics.quantiles(waits, n=100)[98] * 1e3),
        "refused": refused,
    }


def main() -> None:
    """Reckon and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hold", type=float, default=10.0, help="milliseconds")
    parser.add_argument("--rates", type=float, nargs="+", default=[1, 10, 30, 60, 100, 200, 1000])
    options = parser.parse_args()
    figures = {f"{rate:g}/s": simulate(rate, options.hold / 1e3) for rate in options.rates}
    json.dump({"hold_ms": options.hold, "rates": figures}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
