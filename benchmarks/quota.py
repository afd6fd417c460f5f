"""Whether a quota is exact when many studies arrive at once: `python -m benchmarks.quota`.

The adapters that the service runs on, against the DynamoDB of a local AWS over HTTP: so many
threads store studies of one client that may have fewer units left. The local DynamoDB never has
two transactions under way at once, so what AWS does then is added here: an item is held for
`--hold` milliseconds and as long as the local AWS takes, and a transaction that touches one which
another holds is cancelled with TransactionConflict.

It prints one JSON document: for each case how many studies were stored and refused, the seconds,
the median time that items were held, what the counter says in the end, the tries, the conflicts
among them, and the write units of all tries, the cancelled ones too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.httpsession import URLLib3Session

from benchmarks.keys import local_aws, make_table, now
from chalicelib.domain import Throttle
from chalicelib.errors import QuotaExceeded, StorageUnavailable
from chalicelib.tenants import records
from chalicelib.tenants.ledger import DynamoLedger
from chalicelib.tenants.metering import shards
from chalicelib.tenants.studies import DynamoStudyStore
from tests.fakes.values import a_caller, a_client, a_plan, a_study

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.domain import Caller, Client

# Studies at once, units left, requests a second of the plan: beyond 60 the counter has shards.
CASES = (
    *((20, 8, 10), (50, 20, 10), (50, 50, 10), (100, 40, 10), (100, 100, 10)),
    *((50, 20, 200), (50, 50, 200)),
)


@dataclass
class Isolation:
    """Which items are held, and what was counted; shared by all threads. `hold`: seconds."""

    hold: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    held: set[str] = field(default_factory=set)
    times: list[float] = field(default_factory=list)
    tries: int = 0
    conflicts: int = 0
    other_calls: int = 0
    write_units: int = 0

    def watch(self, table: Table, threads: int) -> None:
        """Have the calls of a table pass through here."""
        events: Any = table.meta.client.meta.events
        session = URLLib3Session(max_pool_connections=threads)

        def serve(event_name: str, request: Any, **_: object) -> AWSResponse:  # noqa: ANN401
            if not event_name.endswith(".TransactWriteItems"):
                with self.lock:
                    self.other_calls += 1
                return session.send(request)
            writes = json.loads(request.body)["TransactItems"]
            items = [*_items(writes)]
            with self.lock:
                self.tries += 1
                self.write_units += 2 * len(items)  # of a kilobyte each, twice in a transaction
                if not self.held.isdisjoint(items):
                    self.conflicts += 1
                    return _conflict(request.url, len(items))
                self.held.update(items)
            begun = time.perf_counter()
            try:
                time.sleep(self.hold)
                answer = session.send(request)
            finally:
                with self.lock:
                    self.held.difference_update(items)
                    self.times.append(time.perf_counter() - begun)
            return answer

        events.register_first("before-send.dynamodb.*", serve)


def _items(writes: list[dict[str, Any]]) -> Iterator[str]:
    for write in writes:
        [what] = write.values()
        key = what.get("Key") or what["Item"]
        yield json.dumps([key["pk"], key["sk"]])


def _conflict(url: str, items: int) -> AWSResponse:
    body = {
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "CancellationReasons": [{"Code": "TransactionConflict"}] * items,
    }
    return AWSResponse(url, 400, HTTPHeaders(), _Raw(json.dumps(body).encode()))


@dataclass
class _Raw:
    content: bytes

    def stream(self) -> Iterator[bytes]:
        yield self.content


def run(table_name: str, client: Client, parallel: int, hold: float) -> dict[str, Any]:
    """Have `parallel` studies of a client stored at once; return the figures."""
    isolation = Isolation(hold)
    table = boto3.resource("dynamodb", config=Config(max_pool_connections=parallel)).Table(
        table_name
    )
    isolation.watch(table, parallel)
    gate = threading.Barrier(parallel)

    def one(caller: Caller) -> tuple[str, float]:
        gate.wait()
        begun = time.perf_counter()
        try:
            DynamoStudyStore(table, now).add(caller, a_study(created_at=now()))
        except QuotaExceeded:
            ended = "refused"
        except StorageUnavailable:
            ended = "storage_unavailable"
        else:
            ended = "stored"
        return ended, time.perf_counter() - begun

    begun = time.perf_counter()
    with ThreadPoolExecutor(parallel) as pool:
        ends = [*pool.map(one, [a_caller(client) for _ in range(parallel)])]
    seconds = time.perf_counter() - begun
    counts = {name: sum(end == name for end, _ in ends) for name in sorted({e for e, _ in ends})}
    waits = sorted(wait for _, wait in ends)
    return counts | {
        "seconds": round(seconds, 2),
        "median_wait_s": round(statistics.median(waits), 2),
        "longest_wait_s": round(waits[-1], 2),
        "held_ms": round(1e3 * statistics.median(isolation.times)),
        "tries": isolation.tries,
        "conflicts": isolation.conflicts,
        "other_calls": isolation.other_calls,
        # Each study that is stored has a place in the index too.
        "write_units": isolation.write_units + counts.get("stored", 0),
    }


def measured(table: Table, number: int, case: tuple[int, int, int], hold: float) -> dict[str, Any]:
    """Return one case with what it must come to."""
    parallel, left, rate = case
    throttle = Throttle(rate_per_second=rate, burst=2 * rate)
    client = a_client(f"client-{number}", plan=a_plan(left, throttle=throttle))
    table.put_item(Item=records.client_item(client))
    found = run(table.name, client, parallel, hold)
    used = DynamoLedger(table, now).usage(client).used
    exact = found.get("stored", 0) == used and used <= left
    if "storage_unavailable" not in found:
        exact = exact and used == min(parallel, left)
    case_told = {"parallel": parallel, "left": left, "shards": shards(client.plan)}
    return case_told | found | {"used": used, "exact": exact}


def main() -> int:
    """Measure and print; return 1 when a quota was not exact."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hold", type=float, default=10.0, help="milliseconds")
    options = parser.parse_args()
    with local_aws():
        table = make_table()
        cases = [
            measured(table, number, case, options.hold / 1e3) for number, case in enumerate(CASES)
        ]
    json.dump({"hold_ms": options.hold, "cases": cases}, sys.stdout, indent=2)
    print()
    return 0 if all(case["exact"] for case in cases) else 1


if __name__ == "__main__":
    sys.exit(main())
