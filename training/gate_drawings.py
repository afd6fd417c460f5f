"""Drawn pictures that are no chest radiographs: texts, charts, noise, and rough body parts.

Every function takes a random generator and returns uint8 grey, (128, 128). The body parts are
cartoons; they teach that bright shafts, rings and fans on a dark ground are no chest.
"""

# ruff: noqa: PLR2004 - drawings are made of numbers

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

    Grey = NDArray[np.uint8]

SIDE = 128
_CANVAS = 256


def noise(rng: Generator) -> Grey:
    """Noise of any colour, from white to cloudy."""
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    frequency[0, 0] = 1
    white = np.fft.rfft2(rng.normal(size=(SIDE, SIDE)))
    return stretch(np.fft.irfft2(white / frequency ** rng.uniform(0, 2.5), (SIDE, SIDE)))


def gradient(rng: Generator) -> Grey:
    """A ramp or a spot, sometimes in steps, sometimes noisy."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    angle, centre = rng.uniform(0, 2 * np.pi), rng.uniform(-1, 1, 2)
    ramp = x * np.cos(angle) + y * np.sin(angle)
    values = ramp if rng.random() < 0.5 else -np.hypot(x - centre[0], y - centre[1])
    if rng.random() < 0.3:
        values = np.round(values * rng.integers(2, 8))
    return stretch(values + rng.normal(0, rng.choice([0, 0.02, 0.1]), values.shape))


def page(rng: Generator) -> Grey:
    """A page of text in one or two columns, dark on light or light on dark."""
    image = Image.new("L", (_CANVAS, _CANVAS), 255)
    draw = ImageDraw.Draw(image)
    size = int(rng.integers(6, 26))
    font = ImageFont.load_default(size=size)
    columns = int(rng.integers(1, 3))
    letters = np.array(list(string.ascii_letters + string.digits + "   .,"))
    for column in range(columns):
        y, left = float(rng.uniform(4, 30)), 10 + column * _CANVAS // columns
        while y < _CANVAS - 10:
            words = "".join(rng.choice(letters, int(rng.integers(3, 60 // columns))))
            draw.text((left, y), words, fill=int(rng.integers(0, 120)), font=font)
            y += float(size * rng.choice([1.2, 1.2, 1.2, 2.5]))
    return _finish(image, rng)


def chart(rng: Generator) -> Grey:
    """Lines, bars, boxes and discs, filled or not."""
    image = Image.new("L", (_CANVAS, _CANVAS), int(rng.integers(0, 256)))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 40))):
        box = _box(rng)
        shade, width = int(rng.integers(0, 256)), int(rng.integers(1, 12))
        kind = int(rng.integers(0, 5))
        if kind == 0:
            draw.rectangle(box, fill=shade)
        elif kind == 1:
            draw.ellipse(box, outline=shade, width=width)
        elif kind == 2:
            draw.ellipse(box, fill=shade)
        elif kind == 3:
            draw.line(box, fill=shade, width=width)
        else:
            draw.polygon([float(v) for v in rng.uniform(0, _CANVAS, 8)], fill=shade)
    return _finish(image, rng)


def pattern(rng: Generator) -> Grey:
    """Stripes, chequers or cells of random size."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    size = rng.uniform(2, 40)
    angle = rng.uniform(0, np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    if rng.random() < 0.4:
        values = np.sin(along / size * np.pi)
    elif rng.random() < 0.5:
        values = np.sign(np.sin(along / size * np.pi) * np.sin(across / size * np.pi))
    else:
        cells = rng.integers(0, 256, (64, 64))
        values = cells[(y // int(size + 1)) % 64, (x // int(size + 1)) % 64].astype(float)
    return stretch(values + rng.normal(0, 0.05 * values.std() + 1e-3, values.shape))


def limb(rng: Generator) -> Grey:
    """One to three long bones with bright walls in soft tissue, on a dark ground."""
    image = np.zeros((SIDE, SIDE))
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    angle = rng.uniform(-0.5, 0.5) + (np.pi / 2 if rng.random() < 0.3 else 0)
    shift = rng.uniform(-0.3, 0.3)
    for _ in range(int(rng.choice([1, 1, 1, 2]))):
        across = x * np.cos(angle) + y * np.sin(angle) - shift
        along = y * np.cos(angle) - x * np.sin(angle)
        half = rng.uniform(0.2, 0.6) * (1 + rng.uniform(-0.4, 0.4) * along)
        image += rng.uniform(0.2, 0.5) * _column(across, half)
        for _bone in range(int(rng.choice([1, 2, 2, 3]))):
            middle = rng.uniform(-0.5, 0.5) * half.mean()
            width = half * rng.uniform(0.15, 0.45)
            width = width * (1 + rng.uniform(0, 0.9) * np.clip(np.abs(along - 0.2), 0, 1) ** 2)
            bone = _column(across - middle, width)
            marrow = _column(across - middle, width * rng.uniform(0.3, 0.8))
            gap = np.abs(along - rng.uniform(-0.9, 0.9)) > rng.choice([0, 0.04])
            image += rng.uniform(0.3, 0.8) * (bone - rng.uniform(0.2, 0.7) * marrow) * gap
        shift += rng.uniform(0.6, 1.0) * rng.choice([-1, 1])
    return _exposed(image, rng)


def skull(rng: Generator) -> Grey:
    """A bright ring with darker content: a head from any side."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    radius = np.hypot(
        (x - rng.uniform(-0.2, 0.2)) / rng.uniform(0.5, 0.9),
        (y - rng.uniform(-0.2, 0.2)) / rng.uniform(0.5, 0.9),
    )
    image = _column(radius, np.full_like(radius, 1.0)) * rng.uniform(0.3, 0.7)
    image += _column(radius - 0.93, np.full_like(radius, rng.uniform(0.04, 0.12)))
    for _ in range(int(rng.integers(2, 9))):
        image += _blob(x, y, rng) * rng.uniform(-0.4, 0.5) * (radius < 0.9)
    return _exposed(image, rng)


def slice_(rng: Generator) -> Grey:
    """A body cut across: an oval of soft tissue with organs, lungs or none, on pure black."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    wide, high = rng.uniform(0.6, 0.95), rng.uniform(0.45, 0.9)
    radius = np.hypot(x / wide, y / high)
    inside = radius < 1
    image = inside * rng.uniform(0.3, 0.7) + (np.abs(radius - 0.95) < 0.04) * rng.uniform(-0.2, 0.3)
    if rng.random() < 0.5:
        for side in (-1, 1):
            lung = np.hypot((x - side * wide * 0.45) / (wide * 0.32), y / (high * 0.6)) < 1
            image = np.where(lung, rng.uniform(0, 0.12), image)
    spine = np.hypot(x / 0.14, (y - high * 0.6) / 0.14) < 1
    image = np.where(spine & inside, rng.uniform(0.6, 1), image)
    for _ in range(int(rng.integers(1, 14))):
        image += _blob(x, y, rng) * rng.uniform(-0.3, 0.4) * inside
    return stretch(np.clip(image, 0, 1) + rng.normal(0, rng.uniform(0, 0.05), image.shape) * inside)


def fan(rng: Generator) -> Grey:
    """An ultrasound sector full of speckle on black."""
    y, x = np.mgrid[0 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    top, spread = rng.uniform(-0.6, 0.1), rng.uniform(0.4, 1.0)
    reach = np.hypot(x, y - top)
    sector = (np.abs(np.arctan2(x, y - top)) < spread) & (reach > -top) & (reach < 1 - top)
    speckle = rng.exponential(1, (SIDE, SIDE)) * np.clip(noise(rng) / 255, 0.1, 1)
    smooth = Image.fromarray(stretch(np.minimum(speckle, np.percentile(speckle, 97)))).filter(
        ImageFilter.GaussianBlur(rng.uniform(0.3, 2))
    )
    shown: Grey = (np.asarray(smooth) * sector).astype(np.uint8)
    return shown


DRAWINGS: dict[str, tuple[str, Callable[[Generator], Grey]]] = {
    "noise": ("no_radiograph", noise),
    "gradient": ("no_radiograph", gradient),
    "page": ("no_radiograph", page),
    "chart": ("no_radiograph", chart),
    "pattern": ("no_radiograph", pattern),
    "limb": ("other_radiograph", limb),
    "skull": ("other_radiograph", skull),
    "slice": ("other_radiograph", slice_),
    "fan": ("other_radiograph", fan),
}


def stretch(values: NDArray[np.float64]) -> Grey:
    """Bring any values to the full range of uint8."""
    low, high = float(values.min()), float(values.max())
    return ((values - low) / max(high - low, 1e-9) * 255).astype(np.uint8)


def _box(rng: Generator) -> tuple[float, float, float, float]:
    left, right = np.sort(rng.uniform(0, _CANVAS, 2))
    top, bottom = np.sort(rng.uniform(0, _CANVAS, 2))
    return float(left), float(top), float(right), float(bottom)


def _finish(image: Image.Image, rng: Generator) -> Grey:
    turned = image.rotate(float(rng.choice([0, 0, 90, rng.uniform(-20, 20)])), fillcolor=255)
    grey = np.asarray(turned.resize((SIDE, SIDE), Image.Resampling.BOX))
    return 255 - grey if rng.random() < 0.5 else grey


def _column(distance: NDArray[np.float64], half: NDArray[np.float64]) -> NDArray[np.float64]:
    """Thickness of a round column seen from the side: an ellipse's chord."""
    return np.sqrt(np.clip(1 - (distance / np.maximum(half, 1e-3)) ** 2, 0, 1))


def _blob(x: NDArray[np.float64], y: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
    centre, size = rng.uniform(-0.7, 0.7, 2), rng.uniform(0.05, 0.35, 2)
    blob: NDArray[np.float64] = np.exp(
        -(((x - centre[0]) / size[0]) ** 2) - ((y - centre[1]) / size[1]) ** 2
    )
    return blob


def _exposed(image: NDArray[np.float64], rng: Generator) -> Grey:
    """Blur, grain, a bright or dark ground, a collimator's black frame: a detector's view."""
    blurred = Image.fromarray(stretch(image)).filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5)))
    grey = np.asarray(blurred).astype(np.float64) + rng.normal(0, rng.uniform(0, 12), image.shape)
    grey = stretch(np.clip(grey, 0, 255) ** rng.uniform(0.4, 1.6)).astype(np.float64)
    if rng.random() < 0.4:
        left, top = rng.integers(0, 25, 2)
        right, bottom = SIDE - rng.integers(0, 25, 2)
        frame = np.full((SIDE, SIDE), rng.choice([0.0, 0.0, 255.0]))
        frame[top:bottom, left:right] = grey[top:bottom, left:right]
        grey = frame
    return (255 - grey if rng.random() < 0.25 else grey).astype(np.uint8)
