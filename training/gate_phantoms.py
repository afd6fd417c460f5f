"""Chests made of ellipsoids, to be looked at from the side: attenuation in space, water being 1.

No free package carries lateral chest radiographs. What tells a side view from a frontal one is
coarse: one lung field and not two, the spine at an edge, no heart to the left of it. So rough
bodies, each of other measures, teach it; `gate_views` projects them.
"""

# ruff: noqa: PLR2004 - bodies are made of numbers; lengths are millimetres

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Volume = NDArray[np.float32]
    Mask = NDArray[np.bool_]

VOXEL = 4.0
_HEIGHT, _DEPTH, _WIDTH = 336, 320, 448


class Space(NamedTuple):
    """Where each voxel lies: `z` down from the chin, `y` from front to back, `x` to the left.

    `x` and `y` are 0 in the middle; shapes (Z, 1, 1), (1, Y, 1) and (1, 1, X).
    """

    z: Volume
    y: Volume
    x: Volume

    def ellipsoid(
        self, centre: tuple[float, float, float], radii: tuple[float, float, float]
    ) -> Mask:
        """Return what lies within; both as (x, y, z)."""
        steps = zip((self.x, self.y, self.z), centre, radii, strict=True)
        inside: Mask = np.less(sum(((s - c) / r) ** 2 for s, c, r in steps), 1)
        return inside

    def rod(
        self, start: tuple[float, float, float], end: tuple[float, float, float], radius: float
    ) -> Mask:
        """Return what lies within `radius` of the line between two points (x, y, z)."""
        a, way = np.array(start), np.array(end) - np.array(start)
        offset = (self.x - a[0], self.y - a[1], self.z - a[2])
        along = sum(o * w for o, w in zip(offset, way, strict=True)) / (way @ way)
        along = np.clip(along, 0, 1)
        apart = sum((o - along * w) ** 2 for o, w in zip(offset, way, strict=True))
        inside: Mask = np.less(apart, radius**2)
        return inside


def _space() -> Space:
    def middle(length: int) -> Volume:
        return (np.arange(0, length, VOXEL) - length / 2).astype(np.float32)

    z = np.arange(0, _HEIGHT, VOXEL).astype(np.float32)
    return Space(z[:, None, None], middle(_DEPTH)[None, :, None], middle(_WIDTH)[None, None, :])


_SPACE = _space()


class Build(NamedTuple):
    """One body's measures in mm: half its width and depth, and where the diaphragm stands."""

    width: float
    depth: float
    diaphragm: float


def phantom(rng: Generator) -> Volume:
    """Make one body at random; float32 (Z, Y, X), voxels of `VOXEL` mm."""
    build = Build(rng.uniform(125, 180), rng.uniform(85, 130), rng.uniform(215, 275))
    volume = np.where(_trunk(build, rng), np.float32(rng.uniform(0.9, 1.05)), np.float32(0))
    lungs = _lungs(build, rng)
    volume[lungs] = rng.uniform(0.15, 0.4)
    volume[_heart(build, rng)] = 1.05
    _bones(volume, build, lungs, rng)
    return volume.astype(np.float32)


def _trunk(build: Build, rng: Generator) -> Mask:
    """Trunk, neck, shoulders, arms that hang or are raised, and soft tissue in front."""
    s, (width, depth, low) = _SPACE, build
    shoulders = 1 + 0.12 * np.exp(-(((s.z - 70) / 50) ** 2))
    power = rng.uniform(2.0, 3.0)
    trunk = (np.abs(s.x) / (width * shoulders)) ** power + (np.abs(s.y) / depth) ** power < 1
    slope = rng.uniform(0.15, 0.5)
    trunk = trunk & (s.z > 15 + slope * np.maximum(np.abs(s.x) - 50, 0))
    body: Mask = trunk | s.ellipsoid((0, 0.1 * depth, 10), (55, 55, 60))
    if rng.random() < 0.5:
        radius, out = rng.uniform(30, 45), width * rng.uniform(1.05, 1.2)
        for side in (-1, 1):
            body |= s.rod((side * width, 0, 60), (side * out, 10, 400), radius)
    else:
        radius, front = rng.uniform(30, 45), -rng.uniform(0, 120)
        for side in (-1, 1):
            body |= s.rod((side * width * 0.9, 0, 60), (side * 120, front, -60), radius)
    if rng.random() < 0.4:
        radii = (rng.uniform(45, 70), rng.uniform(30, 60), rng.uniform(45, 70))
        for side in (-1, 1):
            body |= s.ellipsoid((side * 0.45 * width, -0.9 * depth, low - 50), radii)
    return body


def _lungs(build: Build, rng: Generator) -> Mask:
    """Both lungs, cut off by the domes of the diaphragm, and sometimes gas in the stomach."""
    s, (width, depth, low) = _SPACE, build
    apex, dome = rng.uniform(35, 60), rng.uniform(25, 55)
    middle = rng.uniform(10, 30) * (0.35 + 0.65 * np.exp(-(((s.y + 5) / (0.5 * depth)) ** 2)))
    both = np.zeros(np.broadcast_shapes(*(a.shape for a in s)), bool)
    for side, lower in ((-1, 0.0), (1, rng.uniform(0, 18))):
        centre = (side * 0.46 * width, 0.08 * depth, (apex + low + 60) / 2)
        lung = s.ellipsoid(centre, (0.42 * width, 0.8 * depth, (low + 60 - apex) / 2))
        top = np.exp(-(((s.x - centre[0]) / 75) ** 2) - ((s.y + 0.2 * depth) / 85) ** 2)
        floor = low + lower + 0.25 * s.y - dome * top
        both |= lung & (s.z < floor) & (side * s.x > middle)
    if rng.random() < 0.4:
        both |= s.ellipsoid((0.4 * width, -10, low + 35), (35, 30, 22))
    return both


def _heart(build: Build, rng: Generator) -> Mask:
    """The heart, more of it to the left, and the arch of the aorta."""
    s, (_, depth, low) = _SPACE, build
    size = rng.uniform(0.8, 1.3)
    centre = (rng.uniform(12, 32), -rng.uniform(0.15, 0.35) * depth, low - rng.uniform(40, 65))
    heart = s.ellipsoid(centre, (62 * size, 48 * size, 60 * size))
    arch = s.ellipsoid((15, 0.1 * depth, rng.uniform(85, 110)), (26, 45, 26))
    return heart | arch


def _bones(volume: Volume, build: Build, lungs: Mask, rng: Generator) -> None:
    """Add spine, breastbone, ribs, collar bones, shoulder blades."""
    s, (width, depth, _) = _SPACE, build
    hard = rng.uniform(1.4, 2.2)
    back = depth * rng.uniform(0.55, 0.7) + rng.uniform(0, 20) * np.sin(np.pi * s.z / _HEIGHT)
    spine = (s.x**2 + (s.y - back) ** 2 < rng.uniform(15, 22) ** 2) & (np.sin(s.z / 4) > -0.7)
    spine |= (np.abs(s.x) < 5) & (s.y > back) & (s.y < back + 35) & (np.sin(s.z / 4) > 0)
    front = -depth * rng.uniform(0.82, 0.92)
    plate = (np.abs(s.x) < 20) & (np.abs(s.y - front - 0.05 * s.z) < 6) & (np.abs(s.z - 140) < 75)
    hull = np.hypot(s.x / (0.9 * width), (s.y - 0.06 * depth) / (0.88 * depth))
    step, slope = rng.uniform(20, 28), rng.uniform(0.2, 0.5)
    down = np.mod(s.z + slope * s.y, step)
    ribs = (np.abs(hull - 1) < 0.05) & (down < rng.uniform(6, 10)) & (s.z > 40)
    bones = spine | plate | ribs
    for side in (-1, 1):
        bones |= s.rod((side * 15, front, 60), (side * 0.85 * width, 0, 35), 7)
        blade = np.abs(s.x - side * 0.6 * width) < 45 - 0.2 * np.abs(s.z - 60)
        bones |= blade & (np.abs(s.y - 0.8 * depth) < 4) & (s.z > 50) & (s.z < 170)
    volume[ribs] = rng.uniform(1.0, 1.8)
    bones &= ~ribs
    volume[bones & (volume > 0) & ~lungs] = hard
    volume[spine & lungs] = hard
