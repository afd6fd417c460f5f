"""How long a warm `POST /xray` takes through API Gateway and a deployed function, part by part.

`python -m benchmarks.service` brings the service up in a home of its own, posts one radiograph
over and over, and prints one JSON document with medians in milliseconds. `elsewhere` is what lies
outside of the parts that `Server-Timing` names: the gateway, the key check, the answer.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import httpx

from admin_cli.local.commands import sample
from admin_cli.local.stack import PROJECT, bring_down, bring_up

HOME = PROJECT / ".local" / "bench"
PARTS = ("decode", "gate", "predict", "report", "store")


def parts_of(header: str) -> dict[str, float]:
    """Return milliseconds by part of a `Server-Timing` header."""
    parts = {}
    for entry in header.split(", "):
        name, _, duration = entry.partition(";dur=")
        parts[name] = float(duration)
    return parts


def peak_megabytes(emulator: int) -> float:
    """Return the most memory that any function of the local AWS has had, in MB.

    Functions are child processes of the emulator; only the one that predicts holds torch.
    """
    peaks = [0.0]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            facts = dict(
                line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines()
            )
        except OSError:  # it has ended meanwhile
            continue
        if int(facts["PPid"]) == emulator and "VmHWM" in facts:
            peaks.append(int(facts["VmHWM"].split()[0]) / 1024)
    return round(max(peaks), 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, default=sample())
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    image = options.image.read_bytes()
    os.environ["RADGATE_HOME"] = str(HOME)

    def tell(text: str) -> None:
        print(text, file=sys.stderr)

    try:
        state = bring_up(HOME, None, tell)
        headers = {"x-api-key": state.api_key}
        walls: list[float] = []
        parts: dict[str, list[float]] = {name: [] for name in PARTS}
        with httpx.Client(headers=headers, timeout=120) as client:
            for turn in range(options.rounds + 1):
                began = time.perf_counter()
                answer = client.post(f"{state.api_url}/xray", content=image).raise_for_status()
                wall = (time.perf_counter() - began) * 1e3
                if turn == 0:
                    first = wall  # it loads torch and the pack
                    continue
                walls.append(wall)
                for name, duration in parts_of(answer.headers["server-timing"]).items():
                    parts[name].append(duration)
        peak = peak_megabytes(state.pid) if state.pid else None
    finally:
        bring_down(HOME)
    medians = {name: round(statistics.median(values), 1) for name, values in parts.items()}
    wall = statistics.median(walls)
    document = {
        "image": options.image.name,
        "bytes": len(image),
        "rounds": options.rounds,
        "first_ms": round(first),
        "warm_median_ms": round(wall, 1),
        "warm_best_ms": round(min(walls), 1),
        **medians,
        "elsewhere": round(wall - sum(medians.values()), 1),
        "peak_mb": peak,
    }
    json.dump(document, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
