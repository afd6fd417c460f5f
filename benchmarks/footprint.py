"""How large the Lambda package is, and how long a process takes to import the app and torch.

`python -m benchmarks.footprint` prints one JSON document; seconds are medians of fresh processes
that take turns, so that a busy machine slows both alike.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 7
PROGRAM = "import time; began = time.perf_counter(); import {0}; print(time.perf_counter() - began)"


def seconds_to_import(module: str) -> float:
    """Return the seconds that a fresh process takes to import a module."""
    done = subprocess.run(  # noqa: S603 - our own program, no shell
        [sys.executable, "-c", PROGRAM.format(module)],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return float(done.stdout)


def packages() -> dict[str, int]:
    """Return the bytes of each Lambda package that a local deploy has left."""
    found = sorted(ROOT.glob(".local/**/deployments/*.zip"))
    return {str(path.relative_to(ROOT)): path.stat().st_size for path in found}


def main() -> None:
    """Measure and print."""
    app, torch = [], []
    for _ in range(ROUNDS):
        app.append(seconds_to_import("app"))
        torch.append(seconds_to_import("torch"))
    document = {
        "import_app_s": round(statistics.median(app), 3),
        "import_torch_s": round(statistics.median(torch), 3),
        "ratio": round(statistics.median(app) / statistics.median(torch), 3),
        "lambda_package_bytes": packages(),
    }
    json.dump(document, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
