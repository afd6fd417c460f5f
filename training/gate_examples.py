"""What the gate is trained and tested on: chests in every pose, and everything that is none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from chalicelib.inference.gate_network import KINDS, pool, standardise
from training.gate_drawings import DRAWINGS, SIDE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.random import Generator
    from numpy.typing import NDArray
    from torch import Tensor

    from training.gate_views import Views

    Grey = NDArray[np.uint8]

CHEST, OTHER, NONE = range(len(KINDS))
# From here on a chest counts as turned; below, `_TILT` is what a patient or a scan may be tilted.
_TURNED, _TILT = 25.0, 12.0


class Others(NamedTuple):
    """Images that are no chest, by source: uint8 (N, 128, 128), and the kind of each source."""

    sources: dict[str, tuple[int, Grey]]

    def draw(self, count: int, rng: Generator) -> tuple[Grey, NDArray[np.int64]]:
        """Draw images, every source as likely as any other; return them and their kinds."""
        names = list(self.sources)
        chosen = [self.sources[names[i]] for i in rng.integers(0, len(names), count)]
        images = np.stack([images[rng.integers(0, len(images))] for _, images in chosen])
        return images, np.array([kind for kind, _ in chosen])


class Batch(NamedTuple):
    """Network input (N, 1, 64, 64) and truth: kind int64 (N,); upright and polarity float32 (N,).

    The last two are only meaningful where kind is CHEST.
    """

    x: Tensor
    kind: Tensor
    upright: Tensor
    polarity: Tensor


def others(
    pictures: Mapping[str, Grey],
    volume: NDArray[np.float32],
    chests: Grey,
    count: int,
    rng: Generator,
) -> Others:
    """Collect `count` images a source: crops of pictures, brain slices, drawings, fragments."""
    sources = {
        name: (KINDS.index(kind), np.stack([draw(rng) for _ in range(count)]))
        for name, (kind, draw) in DRAWINGS.items()
    }
    grey = list(pictures.values())
    sources["picture"] = NONE, np.stack([crop(grey[i % len(grey)], rng) for i in range(4 * count)])
    sources["brain"] = OTHER, np.stack([brain_slice(volume, rng) for _ in range(count)])
    sources["fragment"] = OTHER, np.stack([fragment(chests, rng) for _ in range(count)])
    return Others(sources)


def crop(picture: Grey, rng: Generator) -> Grey:
    """Cut a random part of a picture, from a fifth to all of its shorter side."""
    side = int(min(picture.shape) * rng.uniform(0.2, 1))
    top, left = (int(rng.integers(0, whole - side + 1)) for whole in picture.shape)
    return fit(picture[top : top + side, left : left + side])


def brain_slice(volume: NDArray[np.float32], rng: Generator) -> Grey:
    """Cut the head along a random axis, or add it up along it as a radiograph would."""
    axis = int(rng.integers(0, 3))
    middle = volume.shape[axis] * rng.uniform(0.3, 0.7)
    plane = volume.mean(axis) if rng.random() < 0.25 else volume.take(int(middle), axis)  # noqa: PLR2004
    plane = np.rot90(plane / max(float(plane.max()), 1e-6))
    margin = int(rng.integers(0, 40))
    square = max(plane.shape) + margin
    whole = np.zeros((square, square))
    top, left = ((square - side) // 2 for side in plane.shape)
    whole[top : top + plane.shape[0], left : left + plane.shape[1]] = plane
    return fit((whole ** rng.uniform(0.5, 1.5) * 255).astype(np.uint8))


def fragment(chests: Grey, rng: Generator) -> Grey:
    """Cut out a part too small to be a chest, or shuffle a chest's quarters."""
    chest = chests[rng.integers(0, len(chests))]
    if rng.random() < 0.7:  # noqa: PLR2004
        side = int(SIDE * rng.uniform(0.2, 0.45))
        top, left = rng.integers(0, SIDE - side, 2)
        return fit(chest[top : top + side, left : left + side])
    half = SIDE // 2
    quarters = [chest[y : y + half, x : x + half] for y in (0, half) for x in (0, half)]
    order = [(1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0), (2, 0, 3, 1)][int(rng.integers(0, 4))]
    a, b, c, d = (quarters[i] for i in order)
    return np.block([[a, b], [c, d]])


def fit(picture: Grey) -> Grey:
    """Bring a picture to 128 x 128."""
    resized = Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def batch(chests: Grey, views: Views, strangers: Others, size: int, rng: Generator) -> Batch:
    """Draw `size` chests, in poses of which half are as they should be, and as many others.

    One chest in four is drawn, and half of these are seen from the side: what is drawn must not
    be what gives a side view away.
    """
    picked, from_side = _chests(chests, views, size, rng)
    turned = rng.random(size) < 0.35  # noqa: PLR2004
    quarter = 90.0 * rng.integers(1, 4, size)
    any_angle = rng.uniform(_TURNED, 360 - _TURNED, size)
    base = np.where(turned, np.where(rng.random(size) < 0.7, quarter, any_angle), 0.0)  # noqa: PLR2004
    inverted = rng.random(size) < 0.3  # noqa: PLR2004
    # Inverted before or after: the ground that turning uncovers is black as often as white.
    early = rng.random() < 0.5  # noqa: PLR2004
    flip = inverted[:, None, None] & early
    picked = np.where(flip, 255 - picked, picked)
    chest = _augment(picked, base, rng, zoom=(0.87, 1.12), tilt=_TILT)
    late = torch.from_numpy(inverted & (not early)).view(-1, 1, 1, 1)
    chest = torch.where(late, 1 - chest, chest)
    images, kinds = strangers.draw(size, rng)
    stranger = _augment(images, rng.choice([0.0, 90.0, 180.0, 270.0], size), rng, zoom=(0.6, 1.3))
    stranger = torch.where(torch.rand(size, 1, 1, 1) < 0.25, 1 - stranger, stranger)  # noqa: PLR2004
    nothing = np.ones(size)
    return Batch(
        standardise(_tone(pool(torch.cat([chest, stranger])))),
        torch.from_numpy(np.concatenate([np.full(size, CHEST), kinds])),
        torch.from_numpy(np.concatenate([~(turned | from_side), nothing])).float(),
        torch.from_numpy(np.concatenate([~inverted, nothing])).float(),
    )


def _chests(
    chests: Grey, views: Views, size: int, rng: Generator
) -> tuple[Grey, NDArray[np.bool_]]:
    """Draw radiographs and drawn views, and tell which of them are seen from the side."""
    few = size // 8
    sources = (chests, size - 2 * few), (views.frontal, few), (views.lateral, few)
    images = [source[rng.integers(0, len(source), count)] for source, count in sources]
    return np.concatenate(images), np.arange(size) >= size - few


def _augment(
    images: Grey,
    base: NDArray[np.float64],
    rng: Generator,
    *,
    zoom: tuple[float, float],
    tilt: float = 20.0,
) -> Tensor:
    """Turn by `base` degrees and a random tilt, zoom, shift, squeeze, mirror; float in [0, 1]."""
    count = len(images)
    angle = np.radians(base + rng.uniform(-tilt, tilt, count))
    across = rng.uniform(*zoom, count) * rng.choice([-1.0, 1.0], count)
    down = np.abs(across) * rng.uniform(0.85, 1.18, count)
    shift = rng.uniform(-0.1, 0.1, (count, 2))
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.stack(
        [
            np.stack([across * cos, -down * sin, shift[:, 0]], 1),
            np.stack([across * sin, down * cos, shift[:, 1]], 1),
        ],
        1,
    )
    grid = functional.affine_grid(
        torch.from_numpy(matrix).float(), [count, 1, SIDE, SIDE], align_corners=False
    )
    x = torch.from_numpy(np.ascontiguousarray(images)).float().unsqueeze(1) / 255
    filled = "border" if rng.random() < 0.5 else "zeros"  # noqa: PLR2004
    return functional.grid_sample(x, grid, padding_mode=filled, align_corners=False)


def _tone(x: Tensor) -> Tensor:
    """Vary gamma, saturation, grain, sharpness, and lay bars over the margin."""
    count = len(x)
    gamma = torch.exp(torch.empty(count, 1, 1, 1).uniform_(-math.log(2), math.log(2)))
    low = torch.empty(count, 1, 1, 1).uniform_(-0.1, 0.25)
    high = torch.empty(count, 1, 1, 1).uniform_(0.75, 1.1)
    x = ((x - low) / (high - low)).clamp(0, 1) ** gamma
    x = x + torch.randn_like(x) * torch.empty(count, 1, 1, 1).uniform_(0, 0.08)
    blurred = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    x = torch.where(torch.rand(count, 1, 1, 1) < 0.3, blurred, x)  # noqa: PLR2004
    for i in torch.nonzero(torch.rand(count) < 0.3)[:, 0].tolist():  # noqa: PLR2004
        width = int(torch.randint(1, 8, ()))
        edge, shade = int(torch.randint(0, 4, ())), float(torch.rand(()).round())
        sides = [np.s_[:width], np.s_[-width:]]
        rows = sides[edge % 2] if edge < 2 else np.s_[:]  # noqa: PLR2004
        columns = sides[edge % 2] if edge >= 2 else np.s_[:]  # noqa: PLR2004
        x[i, 0, rows, columns] = shade
    return x
