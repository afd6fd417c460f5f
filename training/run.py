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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from chalicelib.inference.framing import frame, read_pgm
from chalicelib.inference.manifest import WEIGHTS, InputContract, Preprocessing
from chalicelib.inference.model import load
from chalicelib.inference.packs import verify_pack
from training import card, measure, pack, plot
from training.data import Part, folds, read, split
from training.evaluate import auroc
from training.fit import Epoch, Recipe, fit
from training.golden import phantom

if TYPE_CHECKING:
    from torch import Tensor

    from chalicelib.inference.networks import Network

ARCHITECTURE = "efficientnet-lite0"
NAME, VERSION, LABEL = "cardionet", "1", "Cardiomegaly"
SIZE = 128
FRAMING: Literal["stretch", "crop", "pad"] = "stretch"
DATASET = (
    "NIH ChestX-ray14, balanced 128-pixel re-cut, test part (556 images; patients may overlap)"
)
TOLERANCE = 0.005

FOLDS = 3
TEACHER = Recipe(seed=10, epochs=9, flip=0.5, mixup=0.4)
FINAL = Recipe(seed=2, epochs=12, flip=0.5, teacher_share=0.6)
RECIPE = (
    "It was fitted for 12 epochs with AdamW on a one-cycle schedule, with random geometry, "
    "tone, sharpness, noise, JPEG and erased rectangles, mixup, smoothed labels and an average "
    "of weights."
)

log = logging.getLogger("training")


@dataclass(frozen=True)
class Bench:
    """What every network of a run is made from, and the folder that remembers finished ones."""

    fitted: Part
    held_out: Part
    work: Path

    def make(
        self, name: str, recipe: Recipe, part: Part, teacher: Tensor | None = None
    ) -> tuple[dict[str, Tensor], list[Epoch]]:
        """Return the weights and log of one network, trained now or found in the work folder."""
        weights, record = self.work / f"{name}.safetensors", self.work / f"{name}.json"
        if record.exists():
            kept = json.loads(record.read_text())
            if kept["recipe"] == asdict(recipe):
                return load_file(weights), [Epoch(**row) for row in kept["epochs"]]
        model, rows = fit(recipe, part, self.held_out, teacher)
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
        save_file(state, weights)
        epochs = [asdict(row) for row in rows]
        record.write_text(json.dumps({"recipe": asdict(recipe), "epochs": epochs}, indent=1))
        return state, rows

    def second_opinion(self, logs: dict[str, list[Epoch]]) -> Tensor:
        """Return a probability for each fitted image from a network that never saw it.

        About one label in ten is wrong. A network that is also told what others, who could not
        have memorised the label, think of the image has less reason to learn the wrong ones.
        """
        fold = folds(self.fitted, FOLDS)
        opinion = torch.zeros(len(self.fitted))
        for number in range(FOLDS):
            name = f"fold-{number + 1}"
            seen = self.fitted.take(np.flatnonzero(fold != number))
            unseen = np.flatnonzero(fold == number)
            recipe = replace(TEACHER, seed=TEACHER.seed + number)
            state, logs[name] = self.make(name, recipe, seen)
            network = measure.shipped(ARCHITECTURE, state)
            answers = measure.answer(network, self.fitted.take(unseen), SIZE)
            opinion[torch.as_tensor(unseen)] = torch.sigmoid(answers)
        log.info("second opinion %.4f", auroc(self.fitted.labels, opinion.numpy()))
        return opinion

    def run(self) -> tuple[dict[str, Tensor], dict[str, list[Epoch]]]:
        """Train everything; return the weights of the network to ship and every log."""
        logs: dict[str, list[Epoch]] = {}
        opinion = self.second_opinion(logs)
        state, logs["shipped"] = self.make("shipped", FINAL, self.fitted, opinion)
        return state, logs


def main() -> None:
    """Run everything; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("RADGATE_DATA", "../shared/data/cardiomegaly128")
    parser.add_argument("--data", type=Path, default=Path(default), help="folder of the .npz files")
    parser.add_argument("--work", type=Path, default=Path(".local/training"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--log", type=Path, default=Path("training/log"))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    options.log.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")

    fitted, held_out = split(read(options.data / "train.npz"))
    test = read(options.data / "test.npz")
    began = time.monotonic()
    state, logs = Bench(fitted, held_out, options.work).run()
    log.info("trained or found in %.0f s", time.monotonic() - began)

    shipped = measure.shipped(ARCHITECTURE, state)
    held_logits = measure.answer(shipped, held_out, SIZE)
    chosen = measure.calibrate(held_out.labels, held_logits)
    test_logits = measure.answer(shipped, test, SIZE)
    minutes = sum(epoch.seconds for rows in logs.values() for epoch in rows) / 60
    facts: dict[str, Any] = {
        "version": VERSION,
        "fitted": len(fitted),
        "calibration": asdict(chosen),
        "held_out": measure.figures(held_out.labels, held_logits, chosen),
        "test": measure.figures(test.labels, test_logits, chosen),
        "robustness": measure.robustness(shipped, test, SIZE),
        "framings": measure.framings(shipped, held_out, SIZE),
        "minutes": round(minutes),
        "recipes": {"folds": asdict(TEACHER), "shipped": asdict(FINAL)},
        "epochs": {name: [asdict(row) for row in rows] for name, rows in logs.items()},
        "recipe": RECIPE,
        "framing": "the whole image stretched to a square",
    }
    facts["weights_bytes"] = len(pack.contents(state, "")[WEIGHTS])
    folder = options.models / f"{NAME}-{VERSION}"
    pack.write(
        folder, claims(facts, golden(shipped, chosen)), pack.contents(state, card.card(facts))
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
