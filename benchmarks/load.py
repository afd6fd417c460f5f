"""Five clients queue 500 studies at once, one of them 400: is anything lost, and who waits?

`python -m benchmarks.load` brings the service up in a home of its own, posts small radiographs to
`POST /studies`, the flood first, and waits until every study has ended. With `--held` the workers
begin only when all are posted, so that the line is as long as it can be. It prints one JSON
document: what was lost, done or charged twice, or left behind, and who waited how long.

Seconds tell of the machine; places do not. Studies have a place by when they were posted and one by
when they ended, both from 1. `in_turns` is the place at which a client's last study would end if
all clients' studies were taken in turns, and `in_line_s` the wait of its first one if all were
worked on as they came.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import boto3
import httpx
from PIL import Image

from admin_cli.foundation import read_foundation
from admin_cli.local.commands import sample
from admin_cli.local.stack import PROJECT, bring_down, bring_up, wipe
from admin_cli.tenants.registry import open_registry
from benchmarks.load_report import Load, Run, document
from chalicelib.inference.imaging import ImageDecoder
from chalicelib.tenants import records

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME = PROJECT / ".local" / "load"
CLIENTS = {"flood": 400, "large": 50, "middle": 30, "small": 19, "single": 1}
PLANS = """
[load]
title = "Load"
studies = { limit = 100000, period = "month" }
requests = { limit = 1000000, period = "month" }
throttle = { rate_per_second = 5000, burst = 5000 }
"""
POSTERS = 4
PATIENCE = 1800.0  # seconds
SIDE = 480
WORKER = "radgate-local-worker"


def images() -> Iterator[bytes]:
    """Yield small radiographs, no two of them equal."""
    path = sample()
    if path is None:
        raise SystemExit("there is no radiograph to post: install requirements-dev.txt")
    radiograph = ImageDecoder().decode(path.read_bytes())
    size = (radiograph.info.width, radiograph.info.height)
    grey = Image.frombytes("I;16", size, radiograph.pixels).point(lambda v: v / 257).convert("L")
    small = grey.resize((SIDE, SIDE))
    for number in count():
        small.putpixel((number % SIDE, number // SIDE), number % 256)
        written = io.BytesIO()
        small.save(written, "PNG", compress_level=1)
        yield written.getvalue()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", type=float, default=1.0, help="of the 500 studies")
    parser.add_argument("--held", action="store_true", help="no worker begins before all is posted")
    options = parser.parse_args()
    os.environ["RADGATE_HOME"] = str(HOME)
    HOME.mkdir(parents=True, exist_ok=True)
    plans = HOME / "plans.toml"
    plans.write_text((PROJECT / "plans.toml").read_text(encoding="utf-8") + PLANS, "utf-8")
    os.environ["RADGATE_PLANS"] = str(plans)

    def tell(text: str) -> None:
        print(text, file=sys.stderr)

    wipe(HOME, keep=("build",))  # what an earlier run left would be swept in the middle of this one
    try:
        state = bring_up(HOME, None, tell)
        loads = [_admit(f"{name}-{int(time.time())}") for name in CLIENTS]
        source = images()
        if options.held:
            _let_work(enabled=False)
        began, total = time.perf_counter(), 0
        for load, number in zip(loads, CLIENTS.values(), strict=True):
            load.behind = total
            wanted = max(1, round(number * options.part))
            _post(state.api_url, load, [next(source) for _ in range(wanted)])
            total += wanted
        posted = time.perf_counter() - began
        tell(f"{total} studies posted in {posted:.0f} s")
        begun = datetime.fromtimestamp(time.time() - posted, UTC)
        if options.held:
            begun = datetime.now(UTC)
            _let_work(enabled=True)
        _wait(loads, tell)
        json.dump(document(Run(loads, begun, posted)), sys.stdout, indent=2)
        print()
    finally:
        bring_down(HOME)


def _admit(client_id: str) -> Load:
    registry = open_registry("local")
    made = registry.create_client(client_id, client_id, f"{client_id}@example.org", "load")
    return Load(client_id, made.plan.studies, registry.issue_key(client_id).secret)


def _let_work(*, enabled: bool) -> None:
    """Have the two queues of jobs wake the worker, or not."""
    functions = boto3.client("lambda")
    mappings = functions.list_event_source_mappings(FunctionName=WORKER)["EventSourceMappings"]
    for mapping in mappings:
        functions.update_event_source_mapping(UUID=str(mapping.get("UUID")), Enabled=enabled)


def _post(api_url: str, load: Load, bodies: list[bytes]) -> None:
    with (
        httpx.Client(headers={"x-api-key": load.key}, timeout=300) as client,
        ThreadPoolExecutor(POSTERS) as pool,
    ):

        def post(body: bytes) -> str:
            answer = client.post(f"{api_url}/studies", content=body).raise_for_status()
            return str(answer.json()["id"])

        load.posted = list(pool.map(post, bodies))


def _wait(loads: list[Load], tell: Any) -> None:  # noqa: ANN401 - prints a line
    table = boto3.resource("dynamodb").Table(read_foundation("local").TableName)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for load in loads:
            for study_id in load.posted:
                if study_id not in load.ended:
                    item = table.get_item(Key=records.study_key(load.client_id, study_id))["Item"]
                    if item["status"] in {"succeeded", "failed"}:
                        load.ended[study_id] = json.loads(str(item["document"]))
        left = sum(len(load.posted) - len(load.ended) for load in loads)
        if not left:
            return
        tell(f"{left} to go")
        time.sleep(5)


if __name__ == "__main__":
    main()
