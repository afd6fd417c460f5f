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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import binary_cross_entropy_with_logits

from chalicelib.inference.framing import frame, read_pgm
from chalicelib.inference.manifest import WEIGHTS, InputContract, Preprocessing
from chalicelib.inference.model import load
from chalicelib.inference.packs import verify_pack
from training import card, measure, pack, plot
from training.calibrate import platt
from training.data import Part, read, split
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

FIRST = Recipe(seed=1, epochs=12)
SECOND = Recipe(seed=31, epochs=7, smoothing=0.05, average=0.997, teacher_share=0.6, small_epochs=3)
THIRD = Recipe(seed=41, epochs=3, rate=3e-4, smoothing=0.05, average=0.997, teacher_share=0.6)
RECIPE = (
    "What is shipped is the mean of the weights of three fits: one to the labels, and two to the "
    "labels blended with the first one's opinion, because labels are often wrong. Each used AdamW "
    "on a one-cycle schedule, random geometry, tone, sharpness, noise, JPEG and erased "
    "rectangles, mixup, smoothed labels and a running average of the weights."
)

log = logging.getLogger("training")


@dataclass(frozen=True)
class Bench:
    """What every network of a run is made from, and the folder that remembers finished ones."""

    fitted: Part
    held_out: Part
    work: Path

    def make(
        self,
        name: str,
        recipe: Recipe,
        teacher: Tensor | None = None,
        origin: dict[str, Tensor] | None = None,
    ) -> tuple[dict[str, Tensor], list[Epoch]]:
        """Return the weights and log of one network, trained now or found in the work folder."""
        weights, record = self.work / f"{name}.safetensors", self.work / f"{name}.json"
        if record.exists():
            kept = json.loads(record.read_text())
            if kept["recipe"] == asdict(recipe):
                return load_file(weights), [Epoch(**row) for row in kept["epochs"]]
        model, rows = fit(recipe, self.fitted, self.held_out, teacher, origin)
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
        save_file(state, weights)
        epochs = [asdict(row) for row in rows]
        record.write_text(json.dumps({"recipe": asdict(recipe), "epochs": epochs}, indent=1))
        return state, rows

    def run(self) -> tuple[dict[str, Tensor], dict[str, list[Epoch]], dict[str, Any]]:
        """Train three networks; return the weights to ship, every log, and how they were chosen.

        About one label in ten is wrong. The first network's calibrated opinion of the images,
        mixed into the labels, tells the others how far to trust each of them. All began from the
        same weights, so that their mean is a network too (Wortsman et al., ICML 2022), and on the
        held-out images a better one than each. The candidate with the lowest loss there is
        shipped.
        """
        first, first_rows = self.make("first", FIRST)
        network = measure.shipped(ARCHITECTURE, first)
        slope, intercept = platt(self.held_out.labels, measure.answer(network, self.held_out, SIZE))
        opinion = torch.sigmoid(slope * measure.answer(network, self.fitted, SIZE) + intercept)
        second, second_rows = self.make("second", SECOND, opinion)
        third, third_rows = self.make("third", THIRD, opinion, first)
        states = {
            "first": first,
            "second": second,
            "third": third,
            "mean of first and second": mean([first, second]),
            "mean of all": mean([first, second, third]),
        }
        trial = {name: self.trial(state) for name, state in states.items()}
        best = min(trial, key=lambda name: trial[name]["loss"])
        log.info("chose %s of %s", best, trial)
        logs = {"first": first_rows, "second": second_rows, "third": third_rows}
        return states[best], logs, {"shipped": best, "candidates": trial}

    def trial(self, state: dict[str, Tensor]) -> dict[str, float]:
        """Return AUROC and calibrated loss on the held-out images."""
        answers = measure.answer(measure.shipped(ARCHITECTURE, state), self.held_out, SIZE)
        labels = self.held_out.labels
        slope, intercept = platt(labels, answers)
        truth = torch.as_tensor(labels).double()
        loss = binary_cross_entropy_with_logits(slope * answers.double() + intercept, truth)
        return {"auroc": round(auroc(labels, answers.numpy()), 4), "loss": round(loss.item(), 4)}


def mean(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Average weights and statistics name by name; counters are taken from the first."""
    return {
        name: torch.stack([state[name] for state in states]).mean(dim=0)
        if value.is_floating_point()
        else value
        for name, value in states[0].items()
    }


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
    state, logs, choice = Bench(fitted, held_out, options.work).run()
    log.info("trained or found in %.0f s", time.monotonic() - began)

    shipped = measure.shipped(ARCHITECTURE, state)
    held_logits = measure.answer(shipped, held_out, SIZE)
    chosen = measure.calibrate(held_out.labels, held_logits)
    test_logits = measure.answer(shipped, test, SIZE)
    minutes = sum(epoch.seconds for rows in logs.values() for epoch in rows) / 60
    recipes = {"first": FIRST, "second": SECOND, "third": THIRD}
    facts: dict[str, Any] = {
        "version": VERSION,
        "fitted": len(fitted),
        "calibration": asdict(chosen),
        "held_out": measure.figures(held_out.labels, held_logits, chosen),
        "test": measure.figures(test.labels, test_logits, chosen),
        "robustness": measure.robustness(shipped, test, SIZE),
        "framings": measure.framings(shipped, held_out, SIZE),
        "minutes": round(minutes),
        "recipes": {name: asdict(r) for name, r in recipes.items()},
        "epochs": {name: [asdict(row) for row in rows] for name, rows in logs.items()},
        "choice": choice,
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
