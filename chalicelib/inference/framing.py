"""Which part of a radiograph the network sees, brought to the size that it takes."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from chalicelib.domain import ImageInfo, Radiograph
from chalicelib.errors import ModelUnavailable
from chalicelib.inference.networks import standardise
from chalicelib.inference.resampling import gaussian_bilinear

if TYPE_CHECKING:
    from chalicelib.inference.manifest import InputContract, Preprocessing

Box = tuple[float, float, float, float]

# Pixels of a padded square: a strip of 50,000 x 1,000, which may be decoded, has 2,500 million.
_MOST_PADDED = 50_000_000

_PGM = re.compile(rb"P5\n([1-9][0-9]{0,4}) ([1-9][0-9]{0,4})\n(255|65535)\n")


def grey(radiograph: Radiograph) -> Tensor:
    """Return the pixels as float32, (1, 1, height, width), in [0, 255] whatever `maxval` is."""
    depth = np.dtype("u1") if radiograph.maxval <= np.iinfo(np.uint8).max else np.dtype("<u2")
    info = radiograph.info
    # The copy to float32 also makes the array writable, as torch asks.
    pixels = np.frombuffer(radiograph.pixels, depth).astype(np.float32)
    image = torch.from_numpy(pixels).view(1, 1, info.height, info.width)
    return (
        image if radiograph.maxval == np.iinfo(np.uint8).max else image * (255 / radiograph.maxval)
    )


def square(
    image: Tensor, framing: str, size: int, resize: str = "antialiased-bilinear"
) -> tuple[Tensor, Box]:
    """Bring (N, 1, H, W) to (N, 1, size, size); `framing`, `resize` as in `manifest.Preprocessing`.

    The box is the part of the image that the square shows: left, top, right, bottom in its pixels;
    with `pad` it reaches beyond.
    """
    height, width = image.shape[2:]
    left, top, right, bottom = 0, 0, width, height
    if framing == "crop":
        side = min(height, width)
        # As torchxrayvision has it, which matters when an odd side is cut from an even one.
        left, top = width // 2 - side // 2, height // 2 - side // 2
        right, bottom = left + side, top + side
        image = image[:, :, top:bottom, left:right]
    elif framing == "pad":
        side = max(height, width)
        left, top = -((side - width) // 2), -((side - height) // 2)
        right, bottom = left + side, top + side
        image = _padded(image)
    if resize == "gaussian-bilinear":
        image = gaussian_bilinear(image, size)
    elif image.shape[2:] != (size, size):
        image = functional.interpolate(
            image, (size, size), mode="bilinear", align_corners=False, antialias=True
        )
    return image, (float(left), float(top), float(right), float(bottom))


def _padded(image: Tensor) -> Tensor:
    """Add black to the short side, half on each; what would grow huge by that is shrunk before."""
    height, width = image.shape[2:]
    side = max(height, width)
    if side * side > _MOST_PADDED:
        share = math.isqrt(_MOST_PADDED) / side
        smaller = max(1, int(height * share)), max(1, int(width * share))
        return _padded(
            functional.interpolate(
                image, smaller, mode="bilinear", align_corners=False, antialias=True
            )
        )
    left, top = (side - width) // 2, (side - height) // 2
    return functional.pad(image, (left, side - width - left, top, side - height - top))


def frame(radiograph: Radiograph, how: Preprocessing, wanted: InputContract) -> tuple[Tensor, Box]:
    """Return the network's input, (1, 1, size, size), and the box of the radiograph it shows."""
    image = grey(radiograph)
    if wanted.range == "minus-1024-to-1024":
        image = image * (2048 / 255) - 1024
        return square(image, how.framing, wanted.size, how.resize)
    image, box = square(image, how.framing, wanted.size, how.resize)
    return standardise(image), box


def read_pgm(data: bytes, sha256: str) -> Radiograph:
    """Read a pack's golden input: binary PGM, header `P5`, no comments; 16 bits big-endian.

    Raises ModelUnavailable when the bytes are anything else.
    """
    header = _PGM.match(data)
    if header is None:
        raise ModelUnavailable("the golden input is no binary PGM")
    width, height, maxval = (int(field) for field in header.groups())
    pixels = data[header.end() :]
    if maxval > np.iinfo(np.uint8).max:
        pixels = np.frombuffer(pixels[: len(pixels) // 2 * 2], ">u2").astype("<u2").tobytes()
    if len(pixels) != width * height * (1 if maxval <= np.iinfo(np.uint8).max else 2):
        raise ModelUnavailable("the golden input is cut short")
    info = ImageInfo(format="PNG", width=width, height=height, sha256=sha256)
    return Radiograph(info, pixels, maxval)
