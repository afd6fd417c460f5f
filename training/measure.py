"""Everything that the card reports, measured on the network exactly as it is shipped."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from chalicelib.inference.framing import square
from chalicelib.inference.networks import build, standardise
from training import evaluate
from training.calibrate import operating_point, platt
from training.pack import shrink
from training.robustness import CHANGES

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from chalicelib.inference.networks import Network
    from training.data import Part

BATCH = 64


@dataclass(frozen=True)
class Calibration:
    """Chosen on held-out images; see `training.calibrate`."""

    slope: float
    intercept: float
    threshold: float


def shipped(architecture: str, state: dict[str, Tensor]) -> Network:
    """Return the network as a pack's reader will have it, rounded weights and all."""
    return build(architecture, 1, shrink(state))


@torch.inference_mode()
def answer(
    network: Network,
    part: Part,
    size: int,
    change: Callable[[Tensor], Tensor] = CHANGES["none"],
    framing: str = "stretch",
) -> Tensor:
    """Return the logits, float32 (N,), for the images after `change`."""
    answers = []
    images = torch.as_tensor(part.images)
    for first in range(0, len(part), BATCH):
        batch, _ = square(change(images[first : first + BATCH, None].float()), framing, size)
        batch = standardise(batch).contiguous(memory_format=torch.channels_last)
        answers.append(network(batch).logits[:, 0])
    return torch.cat(answers)


def calibrate(labels: NDArray[np.uint8], logits: Tensor) -> Calibration:
    """Fit probability and operating point to held-out answers."""
    slope, intercept = platt(labels, logits)
    threshold = operating_point(labels, probabilities(logits, slope, intercept))
    return Calibration(round(slope, 6), round(intercept, 6), threshold)


def probabilities(logits: Tensor, slope: float, intercept: float) -> NDArray[np.float64]:
    """Return sigmoid(slope * logit + intercept), float64 (N,)."""
    answer: NDArray[np.float64] = torch.sigmoid(slope * logits.double() + intercept).numpy()
    return answer


def figures(labels: NDArray[np.uint8], logits: Tensor, chosen: Calibration) -> dict[str, Any]:
    """Return AUROC, calibration and the figures at the operating point, with intervals.

    `..._were_it_right`: what as many images would show if every probability were right.
    """
    scores = logits.numpy()
    probable = probabilities(logits, chosen.slope, chosen.intercept)
    positive = probable >= chosen.threshold
    measured = {
        "auroc": evaluate.bootstrap(evaluate.auroc, labels, scores),
        "calibration_error": evaluate.bootstrap(evaluate.calibration_error, labels, probable),
        "accuracy": evaluate.bootstrap(evaluate.accuracy, labels, positive),
        "sensitivity": evaluate.bootstrap(evaluate.sensitivity, labels, positive),
        "specificity": evaluate.bootstrap(evaluate.specificity, labels, positive),
        "auroc_were_it_right": evaluate.were_it_right(evaluate.auroc, probable),
        "calibration_error_were_it_right": evaluate.were_it_right(
            evaluate.calibration_error, probable
        ),
    }
    rounded = {
        name: {key: round(value, 4) for key, value in asdict(interval).items()}
        for name, interval in measured.items()
    }
    return {"images": len(labels), **rounded}


def robustness(network: Network, part: Part, size: int) -> dict[str, float]:
    """Return the AUROC after every change of `training.robustness`."""
    return {
        name: round(evaluate.auroc(part.labels, answer(network, part, size, change).numpy()), 4)
        for name, change in CHANGES.items()
    }


def framings(network: Network, part: Part, size: int) -> dict[str, float]:
    """Return the AUROC for images cut to 4:5 and to 5:4, for each way to make them square."""
    side = part.images.shape[-1]
    cut = side // 10
    shapes: dict[str, Callable[[Tensor], Tensor]] = {
        "portrait": lambda batch: batch[:, :, :, cut : side - cut],
        "landscape": lambda batch: batch[:, :, cut : side - cut, :],
    }
    return {
        f"{shape}, {framing}": round(
            evaluate.auroc(part.labels, answer(network, part, size, change, framing).numpy()), 4
        )
        for shape, change in shapes.items()
        for framing in ("stretch", "crop", "pad")
    }
