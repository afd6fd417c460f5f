"""Five clients queue 500 studies at once, one of them 400: is anything lost, and who waits?

`python -m benchmarks.load` brings the service up in a home of its own, posts small radiographs to
`POST /studies`, the flood first, and waits until every study has ended. It prints one JSON
document: what was lost or done twice, the throughput, and each client's wait from post to result.
`in_line` is what a client's first study would have waited behind all that was queued before it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import boto3
import httpx
from PIL import Image

from admin_cli.foundation import read_foundation
from admin_cli.local.commands import sample
from admin_cli.local.stack import PROJECT, bring_down, bring_up
from admin_cli.tenants.registry import open_registry
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


@dataclass
class Load:
    """One client's studies: ids by the order of posting, and how each of them ended."""

    client_id: str
    key: str = field(repr=False)
    posted: list[str] = field(default_factory=list)
    behind: int = 0
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)

    def waits(self) -> list[float]:
        """Return the seconds from post to result, shortest first."""
        return sorted(_seconds(study) for study in self.ended.values())


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
    options = parser.parse_args()
    os.environ["RADGATE_HOME"] = str(HOME)
    HOME.mkdir(parents=True, exist_ok=True)
    plans = HOME / "plans.toml"
    plans.write_text((PROJECT / "plans.toml").read_text(encoding="utf-8") + PLANS, "utf-8")
    os.environ["RADGATE_PLANS"] = str(plans)

    def tell(text: str) -> None:
        print(text, file=sys.stderr)

    try:
        state = bring_up(HOME, None, tell)
        loads = [_admit(f"{name}-{int(time.time())}") for name in CLIENTS]
        source = images()
        began, total = time.perf_counter(), 0
        for load, number in zip(loads, CLIENTS.values(), strict=True):
            load.behind = total
            wanted = max(1, round(number * options.part))
            _post(state.api_url, load, [next(source) for _ in range(wanted)])
            total += wanted
        posted = time.perf_counter() - began
        tell(f"{total} studies posted in {posted:.0f} s")
        _wait(loads, tell)
        json.dump(_document(loads, posted), sys.stdout, indent=2)
        print()
    finally:
        bring_down(HOME)


def _admit(client_id: str) -> Load:
    registry = open_registry("local")
    registry.create_client(client_id, client_id, f"{client_id}@example.org", "load")
    return Load(client_id, registry.issue_key(client_id).secret)


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


def _document(loads: list[Load], posted: float) -> dict[str, Any]:
    foundation = read_foundation("local")
    table = boto3.resource("dynamodb").Table(foundation.TableName)
    everything = [study for load in loads for study in load.ended.values()]
    moments = [_moments(study) for study in everything]
    first, last = min(made for made, _ in moments), max(done for _, done in moments)
    rate = len(everything) / (last - first).total_seconds()
    doubled = 0
    for load in loads:
        month = first.replace(day=1)
        used = table.get_item(Key=records.usage_key(load.client_id, month))["Item"]["used"]
        good = sum(study["status"] == "succeeded" for study in load.ended.values())
        doubled += int(str(used)) - good
    return {
        "studies": sum(len(load.posted) for load in loads),
        "lost": sum(len(load.posted) - len(load.ended) for load in loads),
        "failed": sum(study["status"] == "failed" for study in everything),
        "doubled": doubled,
        "posting_s": round(posted, 1),
        "studies_per_s": round(rate, 2),
        "clients": [
            {
                "client": load.client_id.partition("-")[0],
                "studies": len(load.posted),
                "p50_s": round(statistics.median(load.waits()), 1),
                "p95_s": round(load.waits()[int(0.95 * (len(load.waits()) - 1))], 1),
                "max_s": round(load.waits()[-1], 1),
                "in_line_s": round(load.behind / rate, 1),
            }
            for load in loads
        ],
    }


def _moments(study: dict[str, Any]) -> tuple[datetime, datetime]:
    return (
        datetime.fromisoformat(study["created_at"]),
        datetime.fromisoformat(study["completed_at"]),
    )


def _seconds(study: dict[str, Any]) -> float:
    made, done = _moments(study)
    return (done - made).total_seconds()


if __name__ == "__main__":
    main()
