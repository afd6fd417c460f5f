"""Random changes that a radiograph may undergo on its way to us without its finding changing."""

from __future__ import annotations

import io
import math

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

ROTATION = 12.0
SCALE = 0.12
SHIFT = 0.06
SHEAR = 0.05
GAMMA = 1.6
JPEG_CHANCE = 0.3
JPEG_QUALITY = (30, 90)
SPECKLE = 90.0
ERASE_CHANCE = 0.5
NOISE = 6.0
GAIN = 0.25
OFFSET = 0.12
BLUR = 0.2, 0.8


def despeckle(batch: Tensor) -> Tensor:
    """Repair pixels that wrapped round: where the set's makers resized, 256 became 0.

    float32 (N, 1, H, W) in [0, 255] in and out. A pixel far from the median of its 3 x 3
    neighbourhood is set to that median; radiographs from elsewhere have no such pixels.
    """
    height, width = batch.shape[2:]
    around = functional.unfold(functional.pad(batch, (1, 1, 1, 1), mode="replicate"), 3)
    middle = around.median(dim=1).values.view(len(batch), 1, height, width)
    return torch.where((batch - middle).abs() > SPECKLE, middle, batch)


def repaired(images: Tensor) -> Tensor:
    """Despeckle a whole set, uint8 (N, H, W), once: it is too slow for every batch."""
    pieces = [
        despeckle(images[first : first + 64, None].float())[:, 0].to(torch.uint8)
        for first in range(0, len(images), 64)
    ]
    return torch.cat(pieces)


def jpeg(image: Tensor, quality: int) -> Tensor:
    """Pass one image, uint8 (H, W), through JPEG at a quality of 1 to 95."""
    buffer = io.BytesIO()
    Image.fromarray(image.numpy()).save(buffer, "JPEG", quality=quality)
    decoded = Image.open(io.BytesIO(buffer.getvalue()), formats=["JPEG"])
    return torch.frombuffer(bytearray(decoded.tobytes()), dtype=torch.uint8).view(image.shape)


def _uniform(count: int, low: float, high: float, random: torch.Generator) -> Tensor:
    return torch.empty(count).uniform_(low, high, generator=random)


def _affine(batch: Tensor, random: torch.Generator) -> Tensor:
    count = len(batch)
    angle = _uniform(count, -ROTATION, ROTATION, random) * math.pi / 180
    scale = 1 + _uniform(count, -SCALE, SCALE, random)
    stretch = 1 + _uniform(count, -SHEAR, SHEAR, random)
    shear = _uniform(count, -SHEAR, SHEAR, random)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0] = cos * stretch
    matrix[:, 0, 1] = -sin + shear
    matrix[:, 1, 0] = sin
    matrix[:, 1, 1] = cos / stretch
    matrix[:, :, 2] = _uniform(2 * count, -SHIFT, SHIFT, random).view(count, 2) * 2
    size = list(batch.shape)
    grid = functional.affine_grid(matrix, size, align_corners=False)
    return functional.grid_sample(batch, grid, align_corners=False)


def _tone(images: Tensor, random: torch.Generator) -> Tensor:
    """Give each image its own gamma, contrast and brightness, by a table: powers are slow."""
    count = len(images)
    limit = math.log(GAMMA)
    levels = (torch.arange(256) / 255).expand(count, 256)
    table = levels ** _uniform(count, -limit, limit, random).exp()[:, None]
    gain = 1 + _uniform(count, -GAIN, GAIN, random)[:, None]
    offset = _uniform(count, -OFFSET, OFFSET, random)[:, None]
    table = ((table - 0.5) * gain + 0.5 + offset).clamp(0, 1) * 255
    toned = table.gather(1, images.flatten(1).long())
    return toned.view(count, 1, *images.shape[1:])


def _sharpness(batch: Tensor, random: torch.Generator) -> Tensor:
    """Blend with a blurred copy; a negative share sharpens."""
    middle, spread = BLUR
    share = middle + _uniform(len(batch), -spread, spread, random).view(-1, 1, 1, 1)
    padded = functional.pad(batch, (1, 1, 1, 1), mode="replicate")
    return torch.lerp(batch, functional.avg_pool2d(padded, 3, stride=1), share)


def _erase(batch: Tensor, random: torch.Generator) -> Tensor:
    """Grey out one rectangle in some of the images: no single landmark may decide alone."""
    height, width = batch.shape[2:]
    for image in batch:
        if torch.rand((), generator=random) < ERASE_CHANCE:
            tall, wide = (int(v) for v in torch.randint(12, 40, (2,), generator=random))
            top = int(torch.randint(0, height - tall, (), generator=random))
            left = int(torch.randint(0, width - wide, (), generator=random))
            image[:, top : top + tall, left : left + wide] = image.mean()
    return batch


def augment(images: Tensor, random: torch.Generator) -> Tensor:
    """Change a batch, uint8 (N, H, W), into float32 (N, 1, H, W) in [0, 255]."""
    chosen = torch.rand(len(images), generator=random) < JPEG_CHANCE
    images = images.clone()
    for index in chosen.nonzero().flatten().tolist():
        quality = int(torch.randint(*JPEG_QUALITY, (), generator=random))
        images[index] = jpeg(images[index], quality)
    batch = _affine(_tone(images, random), random)
    batch = _sharpness(batch, random)
    noise = _uniform(len(batch), 0, NOISE, random).view(-1, 1, 1, 1)
    batch = batch + torch.randn(batch.shape, generator=random) * noise
    return _erase(batch.clamp(0, 255), random)
