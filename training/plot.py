"""The one figure that is kept of a run: learning curves, ROC and calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np

mpl.use("Agg")

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.fit import Epoch

BINS = 10


def draw(
    path: Path,
    rows: Mapping[str, Sequence[Epoch]],
    labels: NDArray[np.uint8],
    probable: NDArray[np.float64],
    threshold: float,
) -> None:
    """Write a PNG: `rows` for each network by name; the rest for the test images, (N,)."""
    figure, (curves, roc, reliability) = plt.subplots(1, 3, figsize=(12, 3.8), dpi=80)
    for name, epochs in rows.items():
        numbers = [epoch.number for epoch in epochs]
        curves.plot(numbers, [epoch.held_out_auroc for epoch in epochs], label=name)
    curves.set(title="AUROC on held-out images", xlabel="epoch", ylim=(0.8, 0.95))
    curves.legend(fontsize=8)

    order = np.argsort(-probable)
    hits = np.concatenate([[0], np.cumsum(labels[order] == 1) / (labels == 1).sum()])
    alarms = np.concatenate([[0], np.cumsum(labels[order] == 0) / (labels == 0).sum()])
    called = int((probable >= threshold).sum())
    roc.plot(alarms, hits)
    roc.plot(alarms[called], hits[called], "o", label=f"operating point {threshold}")
    roc.plot([0, 1], [0, 1], ":", color="grey")
    roc.set(title="ROC on test images", xlabel="1 - specificity", ylabel="sensitivity")
    roc.legend(fontsize=8, loc="lower right")

    which = np.minimum((probable * BINS).astype(int), BINS - 1)
    filled = [number for number in range(BINS) if (which == number).any()]
    stated = [probable[which == number].mean() for number in filled]
    observed = [labels[which == number].mean() for number in filled]
    reliability.plot(stated, observed, "o-")
    reliability.plot([0, 1], [0, 1], ":", color="grey")
    reliability.set(
        title="Calibration on test images", xlabel="stated probability", ylabel="share diseased"
    )
    for axis in (curves, roc, reliability):
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)
