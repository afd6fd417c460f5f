"""What the gate lets pass of a body seen from the front, from the side and in between.

`python -m training.gate_angles` prints it for the shipped gate, `--pack FOLDER` for another one.
The body is the one patient's CT of `gate_sources.CHEST_CT`, which is downloaded once. The views
from front and side are those of `python -m training.gate --report`; nothing is trained or chosen.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from chalicelib.inference.gate import ChestGate
from training.gate_report import CT_SEED, as_radiograph
from training.gate_views import develop, patient, project, views

if TYPE_CHECKING:
    from collections.abc import Iterable

    from training.gate_views import Grey, Volume

VIEWS = 100  # from the front, and as many from the side
FILMS = 200  # an angle, each cut out of the same projection at random
ANGLES = range(0, 181, 10)


class Passed(NamedTuple):
    """How many of some views passed, and why the others did not."""

    accepted: int
    reasons: Counter[str]


def passed(gate: ChestGate, films: Iterable[Grey]) -> Passed:
    """Let the gate judge films, uint8 (H, W) each."""
    verdicts = [gate.judge(as_radiograph(film)) for film in films]
    reasons = Counter(" + ".join(v.reasons) for v in verdicts if not v.accepted)
    return Passed(sum(v.accepted for v in verdicts), reasons)


def films(body: Volume, degrees: int, count: int) -> list[Grey]:
    """Project a body at an angle from the front; the same films for the same angle and count."""
    rng = np.random.default_rng((CT_SEED, degrees % 360))
    depth = project(body, degrees)
    return [develop(depth, rng) for _ in range(count)]


def table(gate: ChestGate, body: Volume, angles: Iterable[int], count: int) -> str:
    """Write a Markdown table of what passes at angles from the front, turned both ways."""
    lines = [
        f"| degrees from the front | of {count} passed, turned one way | the other way |",
        "| --- | --- | --- |",
    ]
    for degrees in angles:
        one, other = (
            passed(gate, films(body, turn, count)).accepted for turn in (degrees, -degrees)
        )
        lines.append(f"| {degrees} | {one} | {other} |")
    return "\n".join(lines)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, default=Path("models/cardionet-1"))
    parser.add_argument("--cache", type=Path, default=Path(".local/gate"), help="for wheels")
    options = parser.parse_args()
    torch.set_num_threads(1)
    gate, body = ChestGate.load(options.pack), patient(options.cache)
    seen = views([body], VIEWS, np.random.default_rng(CT_SEED))
    for name, pictures in seen._asdict().items():
        count, reasons = passed(gate, pictures)
        words = ", ".join(f"{reason} {times}" for reason, times in reasons.most_common())
        print(f"{name}: {count} of {len(pictures)} passed{words and '; refused: '}{words}")
    print()
    print(table(gate, body, ANGLES, FILMS))


if __name__ == "__main__":
    main()
