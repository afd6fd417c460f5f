"""Fit one network: augmentation, mixup, one-cycle AdamW and an average of the weights."""

from __future__ import annotations

import copy
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from chalicelib.inference.networks import EfficientNetLite, channels_last, standardise
from training.augment import augment, repaired
from training.evaluate import auroc
from training.initial import PUBLISHED, Variant, start

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from training.data import Part

_WIDE_KERNEL = 5
CLIP = 2.0

log = logging.getLogger("training")


@dataclass(frozen=True)
class Recipe:
    """What may differ between two fits."""

    seed: int
    epochs: int = 12
    batch: int = 32
    rate: float = 1.0e-3
    decay: float = 0.03
    smoothing: float = 0.1
    mixup: float = 0.3
    average: float = 0.995
    drop_path: float = 0.1
    dropout: float = 0.2
    variant: Variant = "lite0"
    enlarged: int = 192
    teacher_share: float = 0.0


@dataclass(frozen=True)
class Epoch:
    """One row of the log."""

    number: int
    seconds: float
    loss: float
    held_out_auroc: float
    held_out_loss: float


class _Depthwise(nn.Conv2d):
    """A depthwise convolution kept at float32: its bfloat16 gradient is several times slower."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            y: Tensor = self._conv_forward(x.float(), self.weight, None)
        return y.to(torch.bfloat16)


def _prepare(network: EfficientNetLite) -> EfficientNetLite:
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1 and _slow(module):
            module.__class__ = _Depthwise
    return channels_last(network)


def _slow(conv: nn.Conv2d) -> bool:
    return conv.stride[0] > 1 or conv.kernel_size[0] == _WIDE_KERNEL


@torch.inference_mode()
def logits(network: nn.Module, images: NDArray[np.uint8]) -> Tensor:
    """Answer float32 (N,) for images uint8 (N, H, W)."""
    network.eval()
    pieces = torch.as_tensor(images).split(32)  # type: ignore[no-untyped-call]
    return torch.cat([network(standardise(one[:, None].float())).logits[:, 0] for one in pieces])


def fit(
    recipe: Recipe,
    train: Part,
    held_out: Part,
    teacher: Tensor | None = None,
    origin: Mapping[str, Tensor] | None = None,
) -> tuple[EfficientNetLite, list[Epoch]]:
    """Fit one network to `train` and judge it after each epoch by `held_out`.

    Returned are the weights, averaged over the last steps, and a row for every epoch. The network
    never learns from `held_out`, nor is an epoch picked by it: the schedule ends where it ends.

    teacher: float32 (len(train),), probabilities to learn from in the share that the recipe gives
    them, or None. origin: the state of a network to go on from, or None for the published weights.
    """
    torch.manual_seed(recipe.seed)
    random = torch.Generator().manual_seed(recipe.seed)
    network = blank(recipe)
    if origin is None:
        start(network, recipe.variant)
    else:
        network.load_state_dict(dict(origin))
    averaged = channels_last(copy.deepcopy(network))
    _prepare(network)
    steps = len(train) // recipe.batch
    optimiser, schedule = _optimiser(network, recipe, recipe.epochs * steps)
    raw = torch.as_tensor(train.images)
    versions = torch.stack([raw, repaired(raw)])
    targets = _targets(train, recipe, teacher)
    rows: list[Epoch] = []
    done = 0
    for number in range(1, recipe.epochs + 1):
        began, total = time.monotonic(), 0.0
        network.train()
        order = torch.randperm(len(train), generator=random)
        for index in order[: steps * recipe.batch].view(steps, recipe.batch):
            version = torch.randint(0, 2, (len(index),), generator=random)
            batch = standardise(augment(versions[version, index], random))
            batch, wanted = _mix(batch, targets[index], recipe)
            with torch.autocast("cpu", torch.bfloat16):
                answer = network(batch).logits[:, 0]
            loss = functional.binary_cross_entropy_with_logits(answer.float(), wanted)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimiser.step()
            schedule.step()
            done += 1
            total += loss.item()
            _average(averaged, network, min(recipe.average, done / (done + 10)))
        seconds = time.monotonic() - began
        answers = logits(averaged, held_out.images)
        rows.append(_row(number, seconds, total / steps, held_out, answers))
        log.info("seed %d %s", recipe.seed, rows[-1])
    return averaged, rows


def blank(recipe: Recipe) -> EfficientNetLite:
    """Return the network of a recipe before it has learned anything."""
    return EfficientNetLite(
        1,
        PUBLISHED[recipe.variant].stages,
        enlarged=recipe.enlarged,
        drop_path=recipe.drop_path,
        dropout=recipe.dropout,
    )


def _optimiser(
    network: nn.Module, recipe: Recipe, total: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.OneCycleLR]:
    """Return AdamW, which decays kernels but not norms and biases, and its one cycle."""
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = 0.05  # a run is too short for the published 0.01
    learned = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": recipe.decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=recipe.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.rate, total_steps=total, pct_start=0.2
    )
    return optimiser, schedule


def _targets(train: Part, recipe: Recipe, teacher: Tensor | None) -> Tensor:
    targets = torch.as_tensor(train.labels).float()
    targets = targets * (1 - recipe.smoothing) + recipe.smoothing / 2
    return targets if teacher is None else torch.lerp(targets, teacher, recipe.teacher_share)


def _mix(batch: Tensor, wanted: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Blend each image with another of the batch, and their targets alike.

    Images are not mirrored: the heart lies on the left, and a network that must not rely on it
    does worse.
    """
    share = torch.distributions.Beta(recipe.mixup, recipe.mixup).sample((len(batch), 1))
    mixed = torch.lerp(batch.flip(0), batch, share[..., None, None])
    return mixed, torch.lerp(wanted.flip(0), wanted, share[:, 0])


def _row(number: int, seconds: float, loss: float, held_out: Part, answers: Tensor) -> Epoch:
    truth = torch.as_tensor(held_out.labels).float()
    missed = functional.binary_cross_entropy_with_logits(answers, truth).item()
    area = auroc(held_out.labels, answers.numpy())
    return Epoch(number, round(seconds, 1), round(loss, 4), round(area, 4), round(missed, 4))


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, keep: float) -> None:
    """Move the running average of weights and statistics towards the network's."""
    current = network.state_dict()
    for name, value in averaged.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[name], 1 - keep)
