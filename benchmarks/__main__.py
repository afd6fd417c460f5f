"""`make bench`: every benchmark in a process of its own, one after the other."""

from __future__ import annotations

import subprocess
import sys

# The service first: its deploy makes the package whose size the footprint reports. The costs of
# keys and studies at growing sizes take many minutes: `python -m benchmarks.keys` on its own.
BENCHMARKS = (
    "service",
    "footprint",
    "coldstart",
    "predict",
    "densenet",
    "contention",
    "quota",
    "scanning",
)


def main() -> int:
    """Run them all; return how many failed."""
    failed = 0
    for name in BENCHMARKS:
        print(f"# {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        failed += subprocess.run(command, check=False).returncode != 0  # noqa: S603 - ours
    return failed


if __name__ == "__main__":
    sys.exit(main())
