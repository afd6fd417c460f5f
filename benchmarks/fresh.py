"""Programs in fresh processes, and what they took."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "import time; began = time.perf_counter()\n"
# VmHWM begins anew with the program; getrusage's peak is that of whoever started it.
MEASURED = """
import json, pathlib, resource, time
taken = time.perf_counter() - began
own = resource.getrusage(resource.RUSAGE_SELF)
status = dict(line.split(":") for line in pathlib.Path("/proc/self/status").open())
print(json.dumps({"wall": taken, "cpu": time.process_time(), "read_mb": own.ru_inblock / 2048,
                  "peak_mb": int(status["VmHWM"].split()[0]) / 1024}))
"""


class TooLate(Exception):
    """The time for measuring is over."""


def run(
    program: str,
    *arguments: object,
    path: Sequence[Path],
    seconds: float,
    options: Sequence[str] = (),
    before: Sequence[str] = (),
) -> dict[str, float]:
    """Run a program between BEGIN and MEASURED in a fresh process; return what that printed.

    `before`: a command that runs it. Raises TooLate after `seconds`, CalledProcessError when the
    program fails.
    """
    if seconds <= 0:
        raise TooLate
    command = [*before, sys.executable, *options, "-c", BEGIN + program + MEASURED]
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            [*command, *map(str, arguments)],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, path))},
            capture_output=True,
            check=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise TooLate from error
    return dict(json.loads(done.stdout))


def medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of every figure, and how many runs there were."""
    names = runs[0] if runs else {}
    return {
        **{name: round(statistics.median(run[name] for run in runs), 3) for name in names},
        "runs": len(runs),
    }
