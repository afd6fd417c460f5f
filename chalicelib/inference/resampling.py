"""Resizing as scikit-image does it, because packs were trained on images resized that way."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_TRUNCATE = 4.0  # scipy cuts its Gaussian at four deviations


def gaussian_bilinear(image: Tensor, size: int) -> Tensor:
    """Resize (N, 1, H, W) to (N, 1, size, size): a Gaussian against aliasing, then bilinear.

    The same as ``skimage.transform.resize(image, (size, size), mode="constant",
    preserve_range=True)``: beyond its border an image is 0, an axis that does not shrink is not
    blurred, and no value leaves the range of the input. Both steps are linear and act on rows and
    columns alone, so each axis is one matrix; that is several times faster than filtering.

    Args:
        image: float32, any range that 0 means something in.
        size: pixels of a side.
    """
    height, width = image.shape[2:]
    if (height, width) == (size, size):
        return image
    resized = _axis(height, size) @ image @ _axis(width, size).T
    low, high = image.amin(dim=(2, 3), keepdim=True), image.amax(dim=(2, 3), keepdim=True)
    return torch.clamp(resized, low, high)


def _axis(before: int, after: int) -> Tensor:
    """Return what resizes one axis from `before` to `after` pixels: float32, (after, before)."""
    kernel = _gaussian(max(0.0, (before / after - 1) / 2))
    radius = len(kernel) // 2
    position = (np.arange(after) + 0.5) * (before / after) - 0.5
    first = np.floor(position).astype(np.intp)
    part = position - first
    weights = np.zeros((after, before))
    rows = np.arange(after)
    for neighbour, share in ((first, 1 - part), (first + 1, part)):
        # The blurred image is 0 beyond its border too, so a neighbour out there gives nothing.
        inside = (neighbour >= 0) & (neighbour < before)
        for offset, tap in zip(range(-radius, radius + 1), kernel, strict=True):
            column = neighbour + offset
            there = inside & (column >= 0) & (column < before)
            weights[rows[there], column[there]] += share[there] * tap
    return torch.from_numpy(weights.astype(np.float32))


def _gaussian(deviation: float) -> list[float]:
    """Return the taps of a Gaussian filter, an odd number of them, whose sum is 1."""
    radius = int(_TRUNCATE * deviation + 0.5)
    if radius == 0:
        return [1.0]
    x = np.arange(-radius, radius + 1)
    taps = np.exp(-0.5 * (x / deviation) ** 2)
    normed: list[float] = (taps / taps.sum()).tolist()
    return normed
