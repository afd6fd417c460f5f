"""The 128-pixel cardiomegaly set: reading it, and holding data out of training for good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

HELD_OUT = 0.15
SPLIT_SEED = 20260101


@dataclass(frozen=True)
class Part:
    """Images uint8 (N, 128, 128), 0 = black; labels uint8 (N,), 1 = cardiomegaly."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[np.int64]) -> Part:
        """Return the rows that `index` names, in its order."""
        return Part(self.images[index], self.labels[index])


def read(path: Path) -> Part:
    """Read one `.npz` file. Raises OSError when it is missing, KeyError when it is another's."""
    with np.load(path, allow_pickle=False) as archive:
        return Part(archive["images"], archive["labels"])


def split(whole: Part) -> tuple[Part, Part]:
    """Split into a part to fit and a part to hold out, with the labels balanced as in the whole.

    The seed is fixed and apart from that of training: every network of every run holds out the
    same images, so that they may calibrate any of them and any ensemble of them.
    """
    rank = _rank(whole.labels, SPLIT_SEED)
    return whole.take(np.flatnonzero(rank >= HELD_OUT)), whole.take(np.flatnonzero(rank < HELD_OUT))


def _rank(labels: NDArray[np.uint8], seed: int) -> NDArray[np.float64]:
    """Return a random place in [0, 1) for each image, evenly spread within each label."""
    rng = np.random.default_rng(seed)
    rank = np.zeros(len(labels))
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
    return rank
