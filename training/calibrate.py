"""From logits to probabilities and an operating point, both chosen on held-out images alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

RESAMPLES = 500
GRID = np.linspace(0.2, 0.8, 121)


def platt(labels: NDArray[np.uint8], logits: Tensor) -> tuple[float, float]:
    """Return slope and intercept: sigmoid(slope * logit + intercept) is then calibrated.

    labels: (N,), 0 or 1. logits: float32 (N,). The targets are smoothed by Platt's own rule,
    which keeps the fit finite.
    """
    truth = torch.as_tensor(labels).double()
    positives, negatives = truth.sum(), (1 - truth).sum()
    target = torch.where(truth > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(
            line[0] * logits.double() + line[1], target
        )
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    slope, intercept = line.tolist()
    return float(slope), float(intercept)


def operating_point(labels: NDArray[np.uint8], probabilities: NDArray[np.float64]) -> float:
    """Return the threshold with the best mean of sensitivity and specificity (Youden).

    On a few hundred images the best threshold is a matter of luck; the mean over bootstrap
    samples is far steadier than the best on the images themselves.
    """
    rng = np.random.default_rng(0)
    called = probabilities[:, None] >= GRID
    best = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, len(labels), len(labels))
        truth = labels[drawn] == 1
        youden = called[drawn][truth].mean(axis=0) - called[drawn][~truth].mean(axis=0)
        best.append(GRID[youden.argmax()])
    return round(float(np.mean(best)), 3)
