"""The rounds in which networks teach one another, and the folder that remembers finished ones."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from training.calibrate import platt
from training.data import Part, halves, joined
from training.fit import Epoch, Recipe, blank, fit, logits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

FIRST = Recipe(seed=101, epochs=8, enlarged=224)
TEACHER = Recipe(seed=102, epochs=8, variant="lite2")
LEARNER = Recipe(seed=201, epochs=5, rate=6e-4, smoothing=0.05, average=0.997, teacher_share=0.75)
STUDENTS = {"student-1": LEARNER, "student-2": replace(LEARNER, seed=202)}
CROSSED = {"crossed-1": replace(LEARNER, seed=203), "crossed-2": replace(LEARNER, seed=204)}

State = dict[str, "Tensor"]


@dataclass(frozen=True)
class Task:
    """One network to make: what it learns from and is judged by, and as in `training.fit.fit`."""

    name: str
    recipe: Recipe
    learned: Part
    judged: Part
    teacher: Tensor | None = None
    origin: State | None = None


@dataclass(frozen=True)
class Trained:
    """One finished network."""

    name: str
    recipe: Recipe
    state: State
    rows: list[Epoch]


@dataclass(frozen=True)
class Outcome:
    """What all rounds end with.

    state: the weights to ship. held_out: the images by which they are calibrated. answers: logits,
    float32 (len(held_out),), each from a network that did not learn from its image. networks: all
    that were trained.
    """

    state: State
    held_out: Part
    answers: Tensor
    networks: list[Trained]


@dataclass(frozen=True)
class Rounds:
    """Images to learn from, images held out, and the folder that remembers finished networks."""

    fitted: Part
    held_out: Part
    work: Path

    def run(self) -> Outcome:
        """Train six networks; the mean of the last two is what is shipped.

        About one label in ten is wrong. What earlier networks say of an image tells later ones how
        far to trust its label. All small networks go on from the first, so that the mean of two
        of them is a network too (Wortsman et al., ICML 2022).
        """
        first, teacher = self.side_by_side(
            self.beginner("first", FIRST), self.beginner("teacher", TEACHER)
        )
        students = self.side_by_side(
            *(self.learner(name, STUDENTS[name], [first, teacher], first) for name in STUDENTS)
        )
        crossed = self.crossed([merged("students", students), teacher], first)
        answers, judged = zip(
            *((logits(restored(one), task.judged.images), task.judged) for one, task in crossed),
            strict=True,
        )
        last = [one for one, _ in crossed]
        return Outcome(
            merged("shipped", last).state,
            joined(*judged),
            torch.cat(answers),
            [first, teacher, *students, *last],
        )

    def beginner(self, name: str, recipe: Recipe) -> Task:
        """Return the task of a network that learns from labels alone."""
        return Task(name, recipe, self.fitted, self.held_out)

    def learner(
        self, name: str, recipe: Recipe, teachers: Sequence[Trained], origin: Trained
    ) -> Task:
        """Return the task of a network that goes on from `origin` and listens to `teachers`."""
        opinion = blend([self.opinion(one, "fitted") for one in teachers])
        return Task(name, recipe, self.fitted, self.held_out, opinion, origin.state)

    def crossed(self, teachers: Sequence[Trained], origin: Trained) -> list[tuple[Trained, Task]]:
        """Make the last two networks, each with the task that says what it was judged by.

        Until now nobody has learned from the held-out images, so the opinions of them are honest.
        Each of the two learns from one half of them and is judged by the other: their mean has
        seen every image, and every held-out image has an answer from a network that has not.
        """
        fitted = blend([self.opinion(one, "fitted") for one in teachers])
        held_out = blend([self.opinion(one, "held_out") for one in teachers])
        one, other = halves(self.held_out)
        tasks = [
            Task(
                name,
                CROSSED[name],
                joined(self.fitted, self.held_out.take(learned)),
                self.held_out.take(judged),
                torch.cat([fitted, held_out[torch.as_tensor(learned)]]),
                origin.state,
            )
            for name, learned, judged in zip(CROSSED, (one, other), (other, one), strict=True)
        ]
        return list(zip(self.side_by_side(*tasks), tasks, strict=True))

    def opinion(self, network: Trained, part: str) -> Tensor:
        """Return what a network says of "fitted" or "held_out" images, as calibrated logits."""
        kept = self.work / f"{network.name}-of-{part}.safetensors"
        if not kept.exists():
            model = restored(network)
            slope, intercept = platt(self.held_out.labels, logits(model, self.held_out.images))
            images: Part = getattr(self, part)
            save_file({"logits": slope * logits(model, images.images) + intercept}, kept)
        return load_file(kept)["logits"]

    def side_by_side(self, *tasks: Task) -> list[Trained]:
        """Make networks at once, each in a process of one thread.

        Two such processes get half as much again done on two cores as one with two threads.
        """
        with ProcessPoolExecutor(len(tasks), mp_context=get_context("spawn")) as pool:
            return list(pool.map(self.make, tasks))

    def make(self, task: Task) -> Trained:
        """Return one network, trained now or found in the work folder."""
        weights, record = (self.work / f"{task.name}.{kind}" for kind in ("safetensors", "json"))
        if record.exists():
            kept = json.loads(record.read_text())
            if kept["recipe"] == asdict(task.recipe):
                rows = [Epoch(**row) for row in kept["epochs"]]
                return Trained(task.name, task.recipe, load_file(weights), rows)
        set_up(threads=1)
        model, rows = fit(task.recipe, task.learned, task.judged, task.teacher, task.origin)
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
        save_file(state, weights)
        epochs = [asdict(row) for row in rows]
        record.write_text(json.dumps({"recipe": asdict(task.recipe), "epochs": epochs}, indent=1))
        return Trained(task.name, task.recipe, state, rows)


def blend(opinions: Sequence[Tensor]) -> Tensor:
    """Return the joint opinion, float32 (N,), probabilities: the mean of calibrated logits."""
    return torch.sigmoid(torch.stack(list(opinions)).mean(dim=0))


def merged(name: str, networks: Sequence[Trained]) -> Trained:
    """Average weights and statistics name by name; counters are taken from the first."""
    state = {
        key: torch.stack([one.state[key] for one in networks]).mean(dim=0)
        if value.is_floating_point()
        else value
        for key, value in networks[0].state.items()
    }
    return Trained(name, networks[0].recipe, state, [])


def restored(network: Trained) -> torch.nn.Module:
    """Return a network that answers."""
    model = blank(network.recipe)
    model.load_state_dict(network.state)
    return model


def set_up(threads: int) -> None:
    """Ready this process for work: how many threads it takes, and where its log goes."""
    torch.set_num_threads(threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
