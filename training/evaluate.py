"""The figures on the model card: AUROC, calibration, operating point, each with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

BINS = 10
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A figure and the middle 95 % of its bootstrap distribution."""

    value: float
    low: float
    high: float


def auroc(labels: NDArray[np.uint8], scores: NDArray[np.float32]) -> float:
    """Area under the ROC curve: the chance that a positive outscores a negative, ties half.

    labels: (N,), 0 or 1, both present. scores: (N,), any scale.
    """
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[inverse]
    positives = int((labels == 1).sum())
    negatives = len(labels) - positives
    above = ranks[labels == 1].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def calibration_error(labels: NDArray[np.uint8], probabilities: NDArray[np.float64]) -> float:
    """Expected calibration error over ten equal bins of [0, 1]."""
    which = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    error = 0.0
    for number in range(BINS):
        inside = which == number
        if inside.any():
            gap = abs(float(labels[inside].mean()) - float(probabilities[inside].mean()))
            error += gap * float(inside.mean())
    return error


def accuracy(labels: NDArray[np.uint8], positive: NDArray[np.bool_]) -> float:
    """Share of right answers."""
    return float((positive == (labels == 1)).mean())


def sensitivity(labels: NDArray[np.uint8], positive: NDArray[np.bool_]) -> float:
    """Share of the diseased that are called positive."""
    return float(positive[labels == 1].mean())


def specificity(labels: NDArray[np.uint8], positive: NDArray[np.bool_]) -> float:
    """Share of the healthy that are called negative."""
    return float((~positive[labels == 0]).mean())


def bootstrap(
    figure: Callable[[NDArray[np.uint8], NDArray[Any]], float],
    labels: NDArray[np.uint8],
    answers: NDArray[Any],
    seed: int = 0,
) -> Interval:
    """Resample images with replacement, within each class, and take the percentiles."""
    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    values = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([rng.choice(members, len(members)) for members in classes])
        values.append(figure(labels[drawn], answers[drawn]))
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(figure(labels, answers), float(low), float(high))


def were_it_right(
    figure: Callable[[NDArray[np.uint8], NDArray[Any]], float],
    probabilities: NDArray[np.float64],
    seed: int = 0,
) -> Interval:
    """What `figure` would be if every probability were right: mean and middle 95 % of draws.

    Labels are drawn by the probabilities themselves. On a few hundred images even then the
    calibration error is not 0, and the AUROC not that of a larger set.
    """
    rng = np.random.default_rng(seed)
    draws = rng.random((RESAMPLES, len(probabilities))) < probabilities
    values = [figure(labels.astype(np.uint8), probabilities) for labels in draws]
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(np.mean(values)), float(low), float(high))
