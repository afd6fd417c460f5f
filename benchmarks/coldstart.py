"""How long a fresh process takes to its first findings, and what that costs on a cold mount.

`python -m benchmarks.coldstart` prints one JSON document, and each run as it ends to stderr.
`app`: what a function imports as it starts, and with it what the first report does, from the
unpacked zip in a folder that nobody may write to, with its bytecode and without. `first`: packages
as installed here, caches warm; from bytes of a PNG to findings, against `import torch` alone.
`disk` and `network`: packages and pack as they lie on EFS, in a process that has the Lambda zip's
packages and nothing else, by two slow ways (see `mounts`); null where this machine does not have
one. All ways take turns, so that a busy machine slows all alike. After `--seconds` it ends with the
medians of what it has.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks import mounts, zipped
from benchmarks.fresh import ROOT, TooLate, medians, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TORCH = "import torch\n"
FIRST = """
import sys
from pathlib import Path
from chalicelib.inference.imaging import ImageDecoder
from chalicelib.inference.predictor import Predictor
predictor = Predictor(Path(sys.argv[1]), threads=2)
radiograph = ImageDecoder(gate=predictor).decode(Path(sys.argv[2]).read_bytes())
predictor.judge(radiograph)  # the golden image is drawn: the gate may refuse it
assert predictor.predict(radiograph).findings
"""
# As the process begins, and what the first report asks the zip for besides.
STARTS = {"import app": "import app\n", "and report": "import app, chalicelib.reports.page\n"}
# The standard library, the zip, nothing else: neither what is installed nor the checkout.
ALONE = ("-S", "-P", "-B")
# What the usual handler does: packages on the path, imports at the top, then the model.
NAIVE = """
import sys
sys.path.append(sys.argv[3] + "/files")
import numpy, PIL.Image, torch
"""
OURS = """
import sys
from pathlib import Path
from chalicelib.runtime.loading import use_tree
use_tree(Path(sys.argv[3]), ahead={ahead})
"""
# One request for each file of a folder, and few others.
ASKED = "requests alone"
ASKING = """
import os, sys
for entry in os.scandir(sys.argv[3] + "/files/torch/_inductor"):
    os.stat(entry.path)
"""


def ways(plain: Path, compiled: Path) -> dict[str, tuple[str, Path]]:
    """Return program and tree of every way to load it."""
    return {
        "naive": (NAIVE, plain),
        "naive, bytecode": (NAIVE, compiled),
        "snapshot": (OURS.format(ahead=False), plain),
        "snapshot, read ahead": (OURS.format(ahead=True), plain),
    }


class Meter:
    """Runs programs in turns until all rounds are done or the time is over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that there are still."""
        return self._end - time.monotonic()

    def turns(
        self, what: str, rounds: int, programs: dict[str, Callable[..., dict[str, float]]]
    ) -> dict[str, dict[str, float]]:
        """Return the medians of every program; each is told how many seconds it has."""
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
        try:
            for number in range(rounds):
                for name, program in programs.items():
                    runs[name].append(program(seconds=self.left()))
                    tell(f"{what} {number + 1}/{rounds}, {name}: {runs[name][-1]['wall']:.2f} s")
        except TooLate:
            tell(f"{what}: the time is over")
        return {name: medians(found) for name, found in runs.items()}


def tell(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


def image(home: Path) -> Path:
    """Write the golden radiograph of the shipped pack as a PNG; return its path."""
    from PIL import Image  # noqa: PLC0415 - only here

    path = home / "golden.png"
    home.mkdir(parents=True, exist_ok=True)
    with Image.open(ROOT / "models" / "cardionet-1" / "golden.pgm") as golden:
        golden.save(path)
    return path


def ratio(figures: dict[str, dict[str, float]], one: str, other: str, name: str) -> float | None:
    """Return what one way takes of another; None when either was not measured."""
    if name not in figures[one] or name not in figures[other]:
        return None
    return round(figures[one][name] / figures[other][name], 3)


def start(meter: Meter, rounds: int) -> dict[str, Any]:
    """Compare starts from the unpacked zip with its bytecode and without."""
    found: dict[str, Any] = {}
    with zipped.unpacked(tell) as folders:
        programs: dict[str, Callable[..., dict[str, float]]] = {
            f"{what}, {kind}": partial(run, program, path=[folder], options=ALONE)
            for what, program in STARTS.items()
            for kind, folder in folders.items()
        }
        figures = meter.turns("app", rounds, programs)
    for what in STARTS:
        both = f"{what}, bytecode", f"{what}, sources"
        found[what] = {f"ratio_{name}": ratio(figures, *both, name) for name in ("cpu", "wall")}
    return figures | {"ratios": found}


def first(meter: Meter, rounds: int, png: Path) -> dict[str, Any]:
    """Compare the first findings with `import torch`."""
    findings = FIRST, ROOT / "models", png
    figures = meter.turns(
        "first",
        rounds,
        {
            "import torch": partial(run, TORCH, path=[ROOT]),
            "first findings": partial(run, *findings, path=[ROOT]),
        },
    )
    both = "first findings", "import torch"
    return figures | {f"ratio_{name}": ratio(figures, *both, name) for name in ("cpu", "wall")}


def cold(
    measure: Callable[..., dict[str, dict[str, float]]], slow: mounts.Cold, png: Path
) -> dict[str, Any]:
    """Time the first findings from a cold mount, in ways that take turns."""
    plain, compiled = mounts.fill(tell)
    packs = mounts.MOUNT / mounts.PACKS
    programs = {
        name: partial(slow, how + FIRST, packs, png, tree)
        for name, (how, tree) in ways(plain, compiled).items()
    }
    figures = measure({**programs, ASKED: partial(slow, ASKING, packs, png, plain)})
    asked = figures.pop(ASKED)
    ours = "snapshot, read ahead"
    return {
        **figures,
        **{f"ratio_{name}": ratio(figures, ours, "naive", name) for name in ("cpu", "wall")},
        "round_trip_ms": 1000 * asked["wall"] / asked["requests"] if "requests" in asked else None,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cold-rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=600, help="after which it ends")
    options = parser.parse_args()
    meter, png = Meter(options.seconds), image(mounts.HOME)
    document: dict[str, Any] = {"app": start(meter, options.rounds)}
    document["first"] = first(meter, options.rounds, png)
    mounts.fill(tell)
    for what, slow_way in (("disk", mounts.disk), ("network", mounts.network)):
        with slow_way() as slow:
            document[what] = None
            if slow is None:
                tell(f"{what}: not to be had on this machine")
                continue
            measure = partial(meter.turns, what, options.cold_rounds)
            document[what] = cold(measure, slow, png)
    json.dump(document, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
