"""What a session with one client's objects costs a request: `python -m benchmarks.sessions`.

Starts a local AWS of its own with enforcement on, and prints one JSON document in milliseconds.
The local AWS answers in a millisecond what crosses a network at AWS: the first figure is the part
of the work that is ours, not what STS takes there.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from admin_cli import emulator
from admin_cli.local.iam import SWITCH
from chalicelib.aws import ClientSessions

if TYPE_CHECKING:
    from collections.abc import Callable

BUCKET = "radgate-bench"
ROLE = "radgate-bench-data"


def main() -> None:
    """Measure and print."""
    os.environ[SWITCH] = "1"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        emulator.start(home)
        try:
            emulator.use_local_endpoint(home)
            print(json.dumps(measure(make_role()), indent=2))
        finally:
            emulator.stop(home)


def make_role() -> str:
    """Make the role that sessions are of, and return its name at AWS."""
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    made = boto3.client("iam").create_role(
        RoleName=ROLE, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]})
    )
    return made["Role"]["Arn"]


def measure(role: str) -> dict[str, float]:
    """Return medians in milliseconds."""
    sessions = ClientSessions(boto3.client("sts"), role, BUCKET)
    sessions("warm-up").generate_presigned_url("get_object", Params=_object("warm-up"))
    return {
        "first_for_a_client": _median([partial(sessions, f"client-{n}") for n in range(50)]),
        "again_for_a_client": _median([lambda: sessions("client-1")] * 2000),
        "sign_a_link": _median(
            [
                lambda: sessions("client-1").generate_presigned_url(
                    "get_object", Params=_object("client-1")
                )
            ]
            * 200
        ),
    }


def _object(client_id: str) -> dict[str, str]:
    return {"Bucket": BUCKET, "Key": f"clients/{client_id}/studies/a/report.pdf"}


def _median(calls: list[Callable[[], object]]) -> float:
    taken = []
    for call in calls:
        begun = time.perf_counter()
        call()
        taken.append((time.perf_counter() - begun) * 1000)
    return round(statistics.median(taken), 4)


if __name__ == "__main__":
    main()
