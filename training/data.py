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
    rng = np.random.default_rng(SPLIT_SEED)
    held: list[NDArray[np.int64]] = []
    for label in np.unique(whole.labels):
        members = rng.permutation(np.flatnonzero(whole.labels == label))
        held.append(members[: round(len(members) * HELD_OUT)])
    held_index = np.sort(np.concatenate(held))
    fit_index = np.setdiff1d(np.arange(len(whole)), held_index)
    return whole.take(fit_index), whole.take(held_index)
