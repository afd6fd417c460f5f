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
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
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
from training.fit import Epoch, Recipe, blank, fit, logits
from training.golden import phantom

if TYPE_CHECKING:
    from torch import Tensor

    from chalicelib.inference.networks import Network

ARCHITECTURE = "efficientnet-lite0-enlarged"
NAME, VERSION, LABEL = "cardionet", "1", "Cardiomegaly"
SIZE = 128
FRAMING: Literal["stretch", "crop", "pad"] = "stretch"
DATASET = (
    "NIH ChestX-ray14, balanced 128-pixel re-cut, test part (556 images; patients may overlap)"
)
TOLERANCE = 0.005

FIRST = Recipe(seed=101, epochs=8, enlarged=224)
TEACHER = Recipe(seed=102, epochs=8, variant="lite2")
STUDENTS = {
    f"student {number}": Recipe(
        seed=200 + number, epochs=5, rate=6e-4, smoothing=0.05, average=0.997, teacher_share=0.75
    )
    for number in (1, 2)
}
RECIPE = (
    "Two networks of different size (EfficientNet-Lite0 and -Lite2) were fitted to the labels. "
    "Their joint opinion of each image was blended with its label, because labels are often wrong, "
    "and the smaller network learned on from that blend, twice. What is shipped is the mean of the "
    "weights of those two fits. Each fit used AdamW on a one-cycle schedule, random geometry, "
    "tone, sharpness, noise, JPEG and erased rectangles, mixup, smoothed labels and a running "
    "average of the weights."
)

log = logging.getLogger("training")


@dataclass(frozen=True)
class Task:
    """One network to make. teacher, origin: as in `training.fit.fit`."""

    name: str
    recipe: Recipe
    teacher: Tensor | None = None
    origin: dict[str, Tensor] | None = None


Fitted = tuple[dict[str, "Tensor"], list[Epoch]]


@dataclass(frozen=True)
class Bench:
    """What every network of a run is made from, and the folder that remembers finished ones."""

    fitted: Part
    held_out: Part
    work: Path

    def make(self, task: Task) -> Fitted:
        """Return the weights and log of one network, trained now or found in the work folder."""
        stem = task.name.replace(" ", "-")
        weights, record = self.work / f"{stem}.safetensors", self.work / f"{stem}.json"
        if record.exists():
            kept = json.loads(record.read_text())
            if kept["recipe"] == asdict(task.recipe):
                return load_file(weights), [Epoch(**row) for row in kept["epochs"]]
        set_up(threads=1)
        model, rows = fit(task.recipe, self.fitted, self.held_out, task.teacher, task.origin)
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
        save_file(state, weights)
        epochs = [asdict(row) for row in rows]
        record.write_text(json.dumps({"recipe": asdict(task.recipe), "epochs": epochs}, indent=1))
        return state, rows

    def side_by_side(self, *tasks: Task) -> list[Fitted]:
        """Make networks at once, each in a process of one thread.

        Two such processes get half as much again done on two cores as one with two threads.
        """
        with ProcessPoolExecutor(len(tasks), mp_context=get_context("spawn")) as pool:
            return list(pool.map(self.make, tasks))

    def run(self) -> tuple[dict[str, Tensor], dict[str, list[Epoch]], dict[str, Any]]:
        """Train four networks; return the weights to ship, every log, and how they were chosen.

        About one label in ten is wrong. The joint opinion of two networks tells the students how
        far to trust each. Both students go on from the first network, so that the mean of their
        weights is a network too (Wortsman et al., ICML 2022). The candidate with the lowest loss
        on the held-out images is shipped.
        """
        first, teacher = self.side_by_side(Task("first", FIRST), Task("teacher", TEACHER))
        blend = self.blend({"first": (FIRST, first[0]), "teacher": (TEACHER, teacher[0])})
        one, other = self.side_by_side(
            *(Task(name, recipe, blend, first[0]) for name, recipe in STUDENTS.items())
        )
        states = {
            "first": first[0],
            "student 1": one[0],
            "student 2": other[0],
            "mean of the students": mean([one[0], other[0]]),
            "mean of all three": mean([first[0], one[0], other[0]]),
        }
        trial = {name: self.trial(state) for name, state in states.items()}
        best = min(trial, key=lambda name: trial[name]["loss"])
        log.info("chose %s of %s", best, trial)
        rows = {"first": first[1], "teacher": teacher[1]}
        rows |= {"student 1": one[1], "student 2": other[1]}
        return states[best], rows, {"shipped": best, "candidates": trial}

    def blend(self, networks: dict[str, tuple[Recipe, dict[str, Tensor]]]) -> Tensor:
        """Return the networks' joint opinion of the images that are learned from.

        float32 (len(fitted),): the mean of their calibrated logits, as a probability. It is kept
        in the work folder, under the names of the networks.
        """
        kept = self.work / f"opinion-{'-'.join(networks)}.safetensors"
        if kept.exists():
            return load_file(kept)["probabilities"]
        opinions = [self.opinion(recipe, state) for recipe, state in networks.values()]
        blend = torch.sigmoid(torch.stack(opinions).mean(dim=0))
        save_file({"probabilities": blend}, kept)
        return blend

    def opinion(self, recipe: Recipe, state: dict[str, Tensor]) -> Tensor:
        """Return what a network says of the images that are learned from, as calibrated logits."""
        network = blank(recipe)
        network.load_state_dict(state)
        slope, intercept = platt(self.held_out.labels, logits(network, self.held_out.images))
        return slope * logits(network, self.fitted.images) + intercept

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


def set_up(threads: int) -> None:
    """Ready this process for work: how many threads it takes, and where its log goes."""
    torch.set_num_threads(threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")


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
    state, logs, choice = Bench(fitted, held_out, options.work).run()
    log.info("trained or found in %.0f s", time.monotonic() - began)

    shipped = measure.shipped(ARCHITECTURE, state)
    held_logits = measure.answer(shipped, held_out, SIZE)
    chosen = measure.calibrate(held_out.labels, held_logits)
    test_logits = measure.answer(shipped, test, SIZE)
    minutes = sum(epoch.seconds for rows in logs.values() for epoch in rows) / 60
    recipes = {"first": FIRST, "teacher": TEACHER, **STUDENTS}
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
