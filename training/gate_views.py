"""Projections of bodies, as a radiograph projects them, from the front and from the side."""

# ruff: noqa: PLR2004 - angles and shares

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pydicom
import torch
from PIL import Image
from torch.nn import functional

from training.gate_drawings import SIDE
from training.gate_phantoms import VOXEL, phantom
from training.gate_sources import CHEST_CT, files

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.random import Generator
    from numpy.typing import NDArray

    Grey = NDArray[np.uint8]
    Volume = NDArray[np.float32]

# Degrees from the front. Between them nothing is claimed.
_FRONTAL, _LATERAL = 12.0, 60.0


class Views(NamedTuple):
    """uint8 (N, 128, 128) each, upright, bone bright."""

    frontal: Grey
    lateral: Grey


def project(volume: Volume, degrees: float) -> NDArray[np.float32]:
    """Turn a body (Z, Y, X) about its long axis and add it up from front to back: (Z, width)."""
    wide = max(volume.shape[1:])
    missing = [(0, 0)] + [((wide - n) // 2, wide - n - (wide - n) // 2) for n in volume.shape[1:]]
    x = torch.from_numpy(np.pad(volume, missing))[None]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = torch.tensor([[[cos, -sin, 0], [sin, cos, 0]]], dtype=torch.float32)
    grid = functional.affine_grid(turn, [1, *x.shape[1:]], align_corners=False)
    turned = functional.grid_sample(x, grid, align_corners=False)
    return turned[0].sum(1).numpy()


def develop(depth: NDArray[np.float32], rng: Generator) -> Grey:
    """Cut a film out of a projection and give it a tone, (128, 128)."""
    body = np.flatnonzero(depth.max(0) > 0.15 * depth.max())
    left, right = int(body[0]), int(body[-1]) + 1
    width, height = right - left, len(depth)
    left += int(width * rng.uniform(-0.1, 0.12))
    right -= int(width * rng.uniform(-0.1, 0.12))
    top, bottom = int(height * rng.uniform(0, 0.15)), int(height * rng.uniform(0.75, 1))
    left, right = max(left, 0), min(right, depth.shape[1])
    film = depth[top:bottom, left:right]
    low, high = np.percentile(film, (rng.uniform(0, 5), rng.uniform(97, 100)))
    light = np.clip((film - low) / (high - low), 0, 1) ** rng.uniform(0.6, 1.6)
    if rng.random() < 0.6:
        light = _square(light)
    picture = Image.fromarray((light * 255).astype(np.uint8))
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _square(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lay the picture on a black square, as film or detector is not as narrow as a side view."""
    side = max(light.shape)
    whole = np.zeros((side, side), np.float32)
    top, left = ((side - n) // 2 for n in light.shape)
    whole[top : top + light.shape[0], left : left + light.shape[1]] = light
    return whole


def views(volumes: list[Volume], count: int, rng: Generator) -> Views:
    """Look at bodies in turn until there are `count` pictures of each sort."""
    made: dict[str, list[Grey]] = {"frontal": [], "lateral": []}
    for place in range(count):
        volume = volumes[place % len(volumes)]
        side = rng.choice([-90.0, 90.0]) + rng.uniform(_LATERAL - 90, 90 - _LATERAL)
        for name, degrees in (("frontal", rng.uniform(-_FRONTAL, _FRONTAL)), ("lateral", side)):
            made[name].append(develop(project(volume, degrees), rng))
    return Views(np.stack(made["frontal"]), np.stack(made["lateral"]))


def drawn(count: int, rng: Generator) -> Views:
    """Look once from the front and once from the side at each of `count` drawn bodies."""
    return joined(*(views([phantom(rng)], 1, rng) for _ in range(count)))


def stretched(volume: Volume, count: int, rng: Generator) -> Views:
    """Look at one body as if it were `count` bodies of other measures."""
    both = []
    for _ in range(count):
        size = [round(n * rng.uniform(0.8, 1.25)) for n in volume.shape]
        body = functional.interpolate(torch.from_numpy(volume)[None, None], size, mode="trilinear")
        both.append(views([body[0, 0].numpy()], 1, rng))
    return joined(*both)


def joined(*parts: Views) -> Views:
    """Return all views of some together."""
    return Views(*(np.concatenate(images) for images in zip(*parts, strict=True)))


def patient(cache: Path) -> Volume:
    """Return the one real chest that a package carries as CT, (Z, Y, X) in voxels of 4 mm."""
    found = (data for name, data in files(CHEST_CT, cache) if name.endswith(".dcm"))
    slices = [pydicom.dcmread(io.BytesIO(data)) for data in found]
    slices.sort(key=lambda s: -float(s.ImagePositionPatient[2]))
    first, second = (float(s.ImagePositionPatient[2]) for s in slices[:2])
    hounsfield = [
        s.pixel_array.astype(np.float32) * float(s.RescaleSlope) + float(s.RescaleIntercept)
        for s in slices
    ]
    water = np.clip(np.stack(hounsfield) / 1000 + 1, 0, None)
    water[:, _COUCH:] = 0
    spacing = (first - second, *(float(v) for v in slices[0].PixelSpacing))
    size = [round(n * mm / VOXEL) for n, mm in zip(water.shape, spacing, strict=True)]
    smaller = functional.interpolate(torch.from_numpy(water)[None, None], size, mode="area")
    return smaller[0, 0].numpy()


_COUCH = 445  # the row behind the patient's back from which on the couch is seen
