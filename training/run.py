"""Train, calibrate, measure and write the pack: `python -m training.run`.

Networks already in the work folder are not trained again, so a run that was cut short goes on
where it stopped; delete the folder to begin anew.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from chalicelib.inference.framing import frame, read_pgm
from chalicelib.inference.manifest import WEIGHTS, InputContract, Preprocessing
from chalicelib.inference.model import load
from chalicelib.inference.packs import verify_pack
from training import card, measure, pack, plot
from training.data import read, split
from training.golden import phantom
from training.rounds import Rounds, set_up

if TYPE_CHECKING:
    from chalicelib.inference.networks import Network

ARCHITECTURE = "efficientnet-lite0-enlarged"
NAME, VERSION, LABEL = "cardionet", "1", "Cardiomegaly"
SIZE = 128
FRAMING: Literal["stretch", "crop", "pad"] = "stretch"
DATASET = (
    "NIH ChestX-ray14, balanced 128-pixel re-cut, test part (556 images; patients may overlap)"
)
TOLERANCE = 0.005

RECIPE = (
    "Two networks of different size (EfficientNet-Lite0 and -Lite2) were fitted to the labels. "
    "Their joint opinion of each image was blended with its label, because labels are often wrong, "
    "and the smaller network learned on from that blend, twice. With the opinion of these and of "
    "the larger one it learned on from the beginning twice more, each time from one half of the "
    "held-out images too; the other half was left to calibrate it. What is shipped is the mean of "
    "the weights of the last two fits. Each fit used AdamW on a one-cycle schedule, random "
    "geometry, tone, sharpness, noise, JPEG and erased rectangles, mixup, smoothed labels and a "
    "running average of the weights."
)

log = logging.getLogger("training")


def main() -> None:
    """Run everything; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("RADGATE_DATA", "../shared/data/cardiomegaly128")
    parser.add_argument("--data", type=Path, default=Path(default), help="folder of the .npz files")
    parser.add_argument("--work", type=Path, default=Path(".local/training"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--log", type=Path, default=Path("training/log"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    options.log.mkdir(parents=True, exist_ok=True)
    set_up(threads=os.cpu_count() or 1)

    fitted, held_out = split(read(options.data / "train.npz"))
    test = read(options.data / "test.npz")
    began = time.monotonic()
    outcome = Rounds(fitted, held_out, options.work).run()
    log.info("trained or found in %.0f s", time.monotonic() - began)

    shipped = measure.shipped(ARCHITECTURE, outcome.state)
    judged = outcome.held_out
    chosen = measure.calibrate(judged.labels, outcome.answers)
    test_logits = measure.answer(shipped, test, SIZE)
    logs = {network.name: network.rows for network in outcome.networks}
    minutes = sum(epoch.seconds for rows in logs.values() for epoch in rows) / 60
    facts: dict[str, Any] = {
        "version": VERSION,
        "fitted": len(fitted),
        "calibration": asdict(chosen),
        "held_out": measure.figures(judged.labels, outcome.answers, chosen),
        "test": measure.figures(test.labels, test_logits, chosen),
        "robustness": measure.robustness(shipped, test, SIZE),
        "minutes": round(minutes),
        "recipes": {network.name: asdict(network.recipe) for network in outcome.networks},
        "epochs": {name: [asdict(row) for row in rows] for name, rows in logs.items()},
        "recipe": RECIPE,
        "framing": "the whole image stretched to a square",
    }
    facts["weights_bytes"] = len(pack.contents(outcome.state, "")[WEIGHTS])
    folder = options.models / f"{NAME}-{VERSION}"
    pack.write(
        folder,
        claims(facts, golden(shipped, chosen)),
        pack.contents(outcome.state, card.card(facts)),
    )
    load(verify_pack(folder)).prove()
    (options.log / "run.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    probable = measure.probabilities(test_logits, chosen.slope, chosen.intercept)
    plot.draw(options.log / "curves.png", logs, test.labels, probable, chosen.threshold)
    log.info("test %s", facts["test"])


def golden(shipped: Network, chosen: measure.Calibration) -> float:
    """Return the probability for the golden input."""
    preprocessing, wanted = Preprocessing(framing=FRAMING), InputContract(size=SIZE)
    batch, _ = frame(read_pgm(phantom(), ""), preprocessing, wanted)
    with torch.inference_mode():
        logit = shipped(batch.contiguous(memory_format=torch.channels_last)).logits[0]
    return float(measure.probabilities(logit, chosen.slope, chosen.intercept)[0])


def claims(facts: dict[str, Any], answer: float) -> dict[str, Any]:
    """Return the manifest's own words; `answer`: the golden probability."""
    area = facts["test"]["auroc"]
    label = {
        "name": LABEL,
        **facts["calibration"],
        "prevalence": 0.5,
        "auroc": area["value"],
        "auroc_low": area["low"],
        "auroc_high": area["high"],
        "dataset": DATASET,
    }
    return {
        "name": NAME,
        "version": VERSION,
        "architecture": ARCHITECTURE,
        "labels": [label],
        "input": {"size": SIZE},
        "preprocessing": {"framing": FRAMING},
        "licence": "Apache-2.0",
        "golden": {"probabilities": [round(answer, 5)], "tolerance": TOLERANCE},
    }


if __name__ == "__main__":
    main()
