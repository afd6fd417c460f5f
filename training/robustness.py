"""What may happen to a radiograph before it reaches us, applied in one fixed way each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from training.augment import despeckle, jpeg

if TYPE_CHECKING:
    from collections.abc import Callable


def rotated(batch: Tensor, degrees: float) -> Tensor:
    """Turn (N, 1, H, W) about its centre; corners become black."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]]).expand(len(batch), 2, 3)
    grid = functional.affine_grid(matrix, list(batch.shape), align_corners=False)
    return functional.grid_sample(batch, grid, align_corners=False)


def cropped(batch: Tensor, share: float, across: float, down: float) -> Tensor:
    """Cut `share` off each axis, from the left by `across` and the top by `down` of it."""
    side = batch.shape[-1]
    keep = round(side * (1 - share))
    left, top = round((side - keep) * across), round((side - keep) * down)
    return _sized(batch[:, :, top : top + keep, left : left + keep], side)


def toned(batch: Tensor, gamma: float) -> Tensor:
    """Raise grey values, as shares of white, to a power."""
    return (batch / 255) ** gamma * 255


def compressed(batch: Tensor, quality: int) -> Tensor:
    """Pass each image through JPEG."""
    grey = batch[:, 0].round().to(torch.uint8)
    return torch.stack([jpeg(image, quality) for image in grey])[:, None].float()


def coarse(batch: Tensor, factor: int) -> Tensor:
    """Average blocks and enlarge again."""
    return _sized(functional.avg_pool2d(batch, factor), batch.shape[-1])


def _sized(batch: Tensor, side: int) -> Tensor:
    return functional.interpolate(
        batch, (side, side), mode="bilinear", align_corners=False, antialias=True
    )


# Each maps float32 (N, 1, H, W) in [0, 255] to the same.
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda batch: batch,
    "JPEG quality 50": lambda batch: compressed(batch, 50),
    "10 % cropped, centre": lambda batch: cropped(batch, 0.1, 0.5, 0.5),
    "10 % cropped, left and top": lambda batch: cropped(batch, 0.1, 1.0, 1.0),
    "10 % cropped, right and bottom": lambda batch: cropped(batch, 0.1, 0.0, 0.0),
    "rotated by +10 degrees": lambda batch: rotated(batch, 10),
    "rotated by -10 degrees": lambda batch: rotated(batch, -10),
    "gamma 0.7": lambda batch: toned(batch, 0.7),
    "gamma 1.4": lambda batch: toned(batch, 1.4),
    "half the resolution": lambda batch: coarse(batch, 2),
    "wrapped pixels repaired": despeckle,
}
REQUIRED = tuple(CHANGES)[1:9]
