"""What looking up, storing and listing costs at 10, 1,000 and 100,000 keys and studies.

`python -m benchmarks.keys` starts a local AWS of its own and prints one JSON document: for each
size and operation the DynamoDB units, reckoned from the sizes of the items by AWS's rules, the
calls, and the median milliseconds. The units hold on AWS too. The milliseconds do not: they are
those of the local AWS, one Python process that walks a whole partition for every query.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from admin_cli import emulator
from chalicelib.domain import Caller, Client, StudyStatus, new_id
from chalicelib.tenants import records
from chalicelib.tenants.directory import DynamoDirectory
from chalicelib.tenants.ledger import DynamoLedger
from chalicelib.tenants.studies import DynamoStudyStore
from tests.fakes.values import a_client, a_key, a_plan, a_study
from tests.foundation_table import table_definition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb.service_resource import Table

KEYS_OF_A_CLIENT = 10
ROUNDS = 5


def now() -> datetime:
    """Return the time as an aware time in UTC."""
    return datetime.now(UTC)


class Meter:
    """Counts what a table's client does, and the units that AWS would charge for it.

    By the published rules: a consistent read of an item is one unit per started 4 KB, half that
    from an index; a query counts the sum of what it read; a write is one unit per started 1 KB,
    two in a transaction, and one more for the index where the item is in it.
    """

    def __init__(self, table: Table) -> None:
        self.reads = self.writes = 0.0
        self.calls: list[str] = []
        self._sizes = boto3.client("dynamodb")
        self._table = table.name
        events: Any = table.meta.client.meta.events
        events.register_first("after-call.dynamodb.*", self._read)
        events.register_last("before-call.dynamodb.*", self._written)

    def reset(self) -> None:
        """Begin anew."""
        self.reads = self.writes = 0.0
        self.calls = []

    def _read(self, parsed: dict[str, Any], model: Any, **_: object) -> None:  # noqa: ANN401
        if model.name == "GetItem":
            self.reads += _started(size_of(parsed.get("Item", {})), 4096)
        elif model.name == "BatchGetItem":
            found = parsed["Responses"].get(self._table, [])
            self.reads += sum(_started(size_of(item), 4096) for item in found)
        elif model.name == "Query":
            units = _started(sum(size_of(item) for item in parsed["Items"]), 4096)
            self.reads += units if self._consistent else units / 2

    def _written(self, params: dict[str, Any], model: Any, **_: object) -> None:  # noqa: ANN401
        self.calls.append(model.name)
        body = json.loads(params["body"])
        self._consistent = bool(body.get("ConsistentRead"))
        if model.name == "UpdateItem":
            self.writes += _started(self._stored(body["Key"]), 1024)
        for write in body.get("TransactItems", []):
            [(kind, what)] = write.items()
            if kind == "Put":
                kilobytes = _started(size_of(what["Item"]), 1024)
                self.writes += 2 * kilobytes + (kilobytes if "gsi1pk" in what["Item"] else 0)
            else:
                self.writes += 2 * _started(self._stored(what["Key"]), 1024)

    def _stored(self, key: dict[str, Any]) -> int:
        return size_of(self._sizes.get_item(TableName=self._table, Key=key).get("Item", {}))


def size_of(item: dict[str, Any]) -> int:
    """Return the bytes that AWS counts for an item: names and values, numbers by their digits."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: dict[str, Any]) -> int:
    [(kind, content)] = value.items()
    if kind == "L":
        return 3 + sum(1 + _value_size(one) for one in content)
    return len(str(content).encode())


def _started(size: int, step: int) -> int:
    return max(1, -(-size // step))


def make_table() -> Table:
    """Create a table of the foundation's shape."""
    return boto3.resource("dynamodb").create_table(TableName="radgate-scale", **table_definition())


def fill(table: Table, size: int, have: int) -> Client:
    """Bring the table from `have` to `size` keys, ten to a client, and one client's studies."""
    plan = a_plan(10_000_000)
    with table.batch_writer() as batch:
        for number in range(have // KEYS_OF_A_CLIENT, max(1, size // KEYS_OF_A_CLIENT)):
            client = a_client(f"client-{number}", plan=plan)
            batch.put_item(Item=records.client_item(client))
            for _ in range(KEYS_OF_A_CLIENT):
                for item in records.api_key_items(a_key(client.id)):
                    batch.put_item(Item=item)
        # One that has rotated for years: ten keys that work, and as many as there are studies that
        # ended.
        for number in range(have, size):
            ended_at = now() if number >= KEYS_OF_A_CLIENT else None
            batch.put_item(Item=records.api_key_items(a_key("rotating", revoked_at=ended_at))[0])
        for _ in range(have, size):
            study = a_study(id=new_id("st"), created_at=now())
            batch.put_item(Item=records.study_item("client-0", study))
    return a_client("client-0", plan=plan)


@contextmanager
def local_aws() -> Iterator[None]:
    """Run a local AWS for this process."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        aws = emulator.start(home)
        os.environ |= emulator.LOCAL_CREDENTIALS | {
            "AWS_ENDPOINT_URL": aws.url,
            "AWS_DEFAULT_REGION": emulator.REGION,
        }
        try:
            yield
        finally:
            emulator.stop(home)


def measure(meter: Meter, use: Callable[[], object]) -> dict[str, Any]:
    """Return units and calls of one use, and the median milliseconds of several."""
    use()
    meter.reset()
    use()
    units = {"read_units": meter.reads, "write_units": meter.writes, "calls": list(meter.calls)}
    times = list[float]()
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        use()
        times.append((time.perf_counter() - begun) * 1e3)
    return units | {"median_ms": round(statistics.median(times), 1)}


def operations(table: Table, client: Client) -> dict[str, Callable[[], object]]:
    """Return what a request does, each as a function to be measured."""
    directory, studies = DynamoDirectory(table), DynamoStudyStore(table, now)
    ledger = DynamoLedger(table, now)
    [key, *_] = directory.keys(client.id)
    caller = Caller(client=client, key=key)
    stored = studies.page(client.id, 1, None, None).items[0]
    return {
        "identify a key": lambda: directory.identify(key.sha256),
        "note its use": lambda: directory.note_use(key, now()),
        "store and meter a study": lambda: studies.add(caller, a_study(created_at=now())),
        "read a study": lambda: studies.get(client.id, stored.id),
        "list 20 studies": lambda: studies.page(client.id, 20, None, None),
        "list 20 by status": lambda: studies.page(client.id, 20, None, StudyStatus.SUCCEEDED),
        "read the usage": lambda: ledger.usage(client),
        "list a client's 10 keys": lambda: directory.keys(client.id),
        "list 10 keys beside all that ended": lambda: directory.keys("rotating"),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1_000, 100_000])
    sizes = parser.parse_args().sizes
    document: dict[str, Any] = {}
    with local_aws():
        table, have = make_table(), 0
        meter = Meter(table)
        for size in sizes:
            print(f"filling up to {size:,}", file=sys.stderr)
            client = fill(table, size, have)
            have = size
            document[str(size)] = {
                name: measure(meter, use) for name, use in operations(table, client).items()
            }
        # Before the local AWS stops, which with so much in memory can take longer than it may.
        print(json.dumps(document, indent=2), flush=True)


if __name__ == "__main__":
    main()
