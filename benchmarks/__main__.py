"""`make bench`: every benchmark in a process of its own, and one table of what matters at the end.

Each part has a time after which it is ended, so the whole ends, too. All documents that the parts
print are kept in `.local/bench/figures.json`. The costs of keys and studies at growing sizes, of
refusals and of load take many minutes: `python -m benchmarks.keys`, `.refusals`, `.load`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / ".local" / "bench" / "figures.json"
ENDING_SECONDS = 60  # for a part that was told to end: it stops the local AWS it has started


@dataclass(frozen=True)
class Part:
    """A benchmark and after how many seconds it is ended."""

    name: str
    words: tuple[str, ...]
    seconds: float = 300


@dataclass(frozen=True)
class Figure:
    """A line of the table: where its number is, and what it must not exceed, if anything."""

    what: str
    part: str
    path: str
    unit: str = ""
    limit: float | None = None


BOTH = "beside ONNX Runtime"
APP = "app.ratios.import app.ratio_"
# The service first: its deploy makes the package whose size the footprint reports.
PARTS = (
    Part("service", ("service",)),
    Part("footprint", ("footprint",)),
    Part("first findings", ("coldstart", "--seconds", "480"), 600),
    Part("cardionet", ("predict",)),
    Part("DenseNet-121", ("densenet", "--alone", "--json")),
    Part(BOTH, ("densenet", "--json")),
    Part("contention", ("contention",)),
    Part("scanning", ("scanning",)),
)
FIGURES = (
    Figure("DenseNet-121 and heatmaps / eager", "DenseNet-121", "ratios_of_best.eager", "", 0.6),
    Figure("the same / ONNX Runtime", BOTH, "ratios_of_best.onnxruntime", "", 1.25),
    Figure("its largest difference to eager", BOTH, "largest_difference_to_eager.logits", "", 1e-3),
    Figure("cardionet from 512 x 512 to findings", "cardionet", "median_ms", "ms", 15),
    Figure("  the best of them", "cardionet", "best_ms", "ms"),
    Figure("cardionet / eager", "cardionet", "ratio_to_eager"),
    Figure("import app / without bytecode, CPU", "first findings", APP + "cpu", "", 0.8),
    Figure("import app / without bytecode, wall", "first findings", APP + "wall"),
    Figure("first findings / import torch, CPU", "first findings", "first.ratio_cpu", "", 1.3),
    Figure("first findings / import torch, wall", "first findings", "first.ratio_wall", "", 1.3),
    Figure("from a cold disk / naive, wall", "first findings", "disk.ratio_wall"),
    Figure("from a cold network / naive, wall", "first findings", "network.ratio_wall"),
    Figure("POST /xray, warm", "service", "warm_median_ms", "ms"),
    Figure("POST /xray, first", "service", "first_ms", "ms"),
    Figure("peak memory of the function", "service", "peak_mb", "MB"),
    Figure("import app / import torch", "footprint", "ratio"),
)


def main() -> int:
    """Run all parts and print the table; return how many failed or exceeded a limit."""
    documents: dict[str, Any] = {}
    for number, part in enumerate(PARTS, 1):
        told = f"[{number}/{len(PARTS)}] {part.name}, at most {part.seconds:.0f} s"
        print(told, file=sys.stderr, flush=True)
        began = time.monotonic()
        documents[part.name], failed = run(part)
        ended = failed or "done"
        print(f"      {ended} after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text(json.dumps(documents, indent=2), encoding="utf-8")
    print(f"all figures: {KEPT.relative_to(ROOT)}", file=sys.stderr)
    rows, bad = table(documents)
    print("\n".join(rows))
    return bad


def run(part: Part) -> tuple[Any, str]:
    """Return the document that the part printed, or None and why there is none."""
    command = [sys.executable, "-m", f"benchmarks.{part.words[0]}", *part.words[1:]]
    with subprocess.Popen(  # noqa: S603 - ours
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            printed, _ = process.communicate(timeout=part.seconds)
        except subprocess.TimeoutExpired:
            end(process)
            return None, "ended for want of time"
        except BaseException:
            end(process)
            raise
    if process.returncode != 0:
        return None, f"failed with status {process.returncode}"
    try:
        return json.loads(printed), ""
    except ValueError:
        return None, "printed no JSON document"


def end(process: subprocess.Popen[str]) -> None:
    """End a part with all that it started: politely first, so that it can clear up."""
    for ending in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, ending)
            process.communicate(timeout=ENDING_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        else:
            return


def table(documents: dict[str, Any]) -> tuple[list[str], int]:
    """Return the lines of the table, and how many figures are missing or beyond their limit."""
    rows, bad = [f"{'':42}{'measured':>14}{'at most':>10}"], 0
    for figure in FIGURES:
        value: Any = documents.get(figure.part)
        for name in figure.path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        limit = "" if figure.limit is None else f"{figure.limit:g}"
        number = "none" if value is None else f"{value:g} {figure.unit}".strip()
        wrong = value is None or (figure.limit is not None and value > figure.limit)
        # What this machine cannot measure, such as a mount over FUSE, has no limit.
        wrong = wrong and (figure.limit is not None or documents.get(figure.part) is None)
        bad += wrong
        rows.append(f"{figure.what:42}{number:>14}{limit:>10}{'  !' if wrong else ''}")
    return rows, bad


if __name__ == "__main__":
    sys.exit(main())
