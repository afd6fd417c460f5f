"""What a run of `benchmarks.load` has shown: what was lost or doubled, and who waited how long."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

import boto3

from admin_cli.foundation import read_foundation
from chalicelib.services.intake import SHARE
from chalicelib.tenants import periods, records
from chalicelib.tenants.counter import Counter, standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mypy_boto3_dynamodb.service_resource import Table

    from chalicelib.domain import Quota


@dataclass
class Load:
    """One client's studies: ids by the order of posting, and how each of them ended."""

    client_id: str
    quota: Quota
    key: str = field(repr=False)
    posted: list[str] = field(default_factory=list)
    behind: int = 0
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)

    def waits(self, begun: datetime) -> list[float]:
        """Return the seconds from post, or from when work began, to the result; shortest first."""
        waits = (
            (done - max(made, begun)).total_seconds()
            for made, done in map(_moments, self.ended.values())
        )
        return sorted(waits)


@dataclass(frozen=True)
class Run:
    """One run. `begun`: when the workers did; `posting`: seconds it took to post all."""

    loads: Sequence[Load]
    begun: datetime
    posting: float


def document(run: Run) -> dict[str, Any]:
    """Return what a run has shown; asks the table and the bucket."""
    foundation = read_foundation("local")
    table = boto3.resource("dynamodb").Table(foundation.TableName)
    loads, everything = run.loads, [one for load in run.loads for one in load.ended.values()]
    last = max(done for _, done in map(_moments, everything))
    rate = len(everything) / (last - run.begun).total_seconds()
    by_end = sorted(everything, key=lambda study: _moments(study)[1])
    places = {study["id"]: place for place, study in enumerate(by_end, 1)}
    return {
        "studies": sum(len(load.posted) for load in loads),
        "lost": sum(len(load.posted) - len(load.ended) for load in loads),
        "failed": sum(study["status"] == "failed" for study in everything),
        "charged_twice": sum(_charged(table, load) - _good(load) for load in loads),
        "begun_again": sum(_begun_again(table, load) for load in loads),
        "reports": sum(_objects(foundation.BucketName, "clients", loads, "report.pdf")),
        "left_uploads": sum(_objects(foundation.BucketName, "uploads", loads, "")),
        "posting_s": round(run.posting, 1),
        "studies_per_s": round(rate, 2),
        "clients": [_client(run, load, places, rate) for load in loads],
    }


def _client(run: Run, load: Load, places: dict[str, int], rate: float) -> dict[str, Any]:
    waits, ended = load.waits(run.begun), sorted(places[one] for one in load.ended)
    return {
        "client": load.client_id.partition("-")[0],
        "studies": len(load.posted),
        "p50_s": round(statistics.median(waits), 1),
        "p95_s": round(waits[int(0.95 * (len(waits) - 1))], 1),
        "max_s": round(waits[-1], 1),
        "in_line_s": round((load.behind + 1) / rate, 1),
        "first_posted_as": load.behind + 1,
        "first_ended_as": ended[0],
        "tenth_ended_as": ended[min(len(ended), SHARE) - 1],
        "last_ended_as": ended[-1],
        "in_turns": sum(min(len(load.posted), len(other.posted)) for other in run.loads),
    }


def _good(load: Load) -> int:
    return sum(study["status"] == "succeeded" for study in load.ended.values())


def _charged(table: Table, load: Load) -> int:
    """Return the units that a client was charged, by its counter and all its shards."""
    # Two where the run goes over the end of a month.
    months = {periods.start(load.quota, _moments(one)[0]) for one in load.ended.values()}
    return sum(standing(Counter(table, load.client_id, month)).charged for month in months)


def _begun_again(table: Table, load: Load) -> int:
    """Return how many studies took more than one attempt."""
    keys = (records.study_key(load.client_id, study_id) for study_id in load.posted)
    return sum(int(str(table.get_item(Key=key)["Item"]["attempts"])) > 1 for key in keys)


def _objects(bucket: str, folder: str, loads: Sequence[Load], name: str) -> Iterator[int]:
    """Yield how many objects each client has in a folder whose name ends like that."""
    pages = boto3.client("s3").get_paginator("list_objects_v2")
    for load in loads:
        found = pages.paginate(Bucket=bucket, Prefix=f"{folder}/{load.client_id}/")
        every = chain.from_iterable(page.get("Contents", []) for page in found)
        yield sum(str(one.get("Key")).endswith(name) for one in every)


def _moments(study: dict[str, Any]) -> tuple[datetime, datetime]:
    return (
        datetime.fromisoformat(study["created_at"]),
        datetime.fromisoformat(study["completed_at"]),
    )
