"""How fast `keys scan` reads: `python -m benchmarks.scanning` prints one JSON document.

The text is Base64, the worst that is common: beginnings of keys occur in it by chance. What is
counted is the processor time of this one process, so that a busy machine changes little; the file
is read from memory.
"""

from __future__ import annotations

import json
import random
import statistics
import string
import tempfile
import time
from pathlib import Path

from admin_cli.tenants.leaks import scan

BLOCK = 1_000_000  # bytes of one block
BLOCKS = 50
ROUNDS = 5


def main() -> None:
    """Measure and print."""
    chance = random.Random(4)  # noqa: S311 - a seed, not secrecy
    letters = string.digits + string.ascii_letters
    block = "".join(chance.choices(letters, k=BLOCK)).encode() + b"\n"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "large").write_bytes(block * BLOCKS)
        speeds = [megabytes_a_second(Path(folder)) for _ in range(ROUNDS)]
    told = {"median": statistics.median(speeds), "least": min(speeds), "most": max(speeds)}
    print(json.dumps({"mb_a_second_and_core": {n: round(speed) for n, speed in told.items()}}))


def megabytes_a_second(folder: Path) -> float:
    """Return how many million bytes one core reads in a second of its time."""
    begun = time.process_time()
    size = scan([folder], history=False).size
    return size / 1e6 / (time.process_time() - begun)


if __name__ == "__main__":
    main()
