"""What every reader of an image format answers, and the limits that hold before it allocates."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from chalicelib.errors import TooManyPixels, UnreadableImage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Grey = NDArray[np.uint8] | NDArray[np.uint16]

# Rec. 601 weights as 16-bit fractions that add up to exactly 1, so that equal channels convert
# to themselves (the same integers as Pillow's, so that both roads give the same values).
_LUMA = (19595, 38470, 7471)
_CHUNK_PIXELS = 1 << 20


class Step(StrEnum):
    """What decoding did to an image, in the words of `ImageInfo.steps`; no other word occurs."""

    EXIF_ORIENTATION = "exif_orientation"
    PALETTE = "palette"
    ALPHA = "alpha"
    LUMA = "luma"
    MODALITY_LUT = "modality_lut"
    VOI_LUT = "voi_lut"
    MIN_MAX = "min_max"
    INVERT = "invert"
    INVERT_CORRECTED = "invert_corrected"


@dataclass(frozen=True, slots=True)
class Limits:
    """What we decode at most.

    `body`: bytes as sent. `pixels`: width x height x frames. `decoded`: bytes of the samples
    after decompression. The reasons for the figures are in docs/adr/0007-decoding.md.
    """

    body: int = 100_000_000
    pixels: int = 50_000_000
    decoded: int = 150_000_000

    def check(self, width: int, height: int, *, frames: int = 1, sample_bytes: int = 1) -> None:
        """Raise TooManyPixels or UnreadableImage unless an image of this size may be decoded.

        `sample_bytes`: bytes of one pixel, all its samples.
        """
        if width < 1 or height < 1 or frames < 1:
            raise UnreadableImage("The image has no pixels.")
        pixels = width * height * frames
        if pixels > self.pixels or pixels * sample_bytes > self.decoded:
            raise TooManyPixels(
                f"{width} x {height} pixels in {frames} frame(s), {sample_bytes} byte(s) each, "
                f"are more than the {self.pixels} pixels or {self.decoded} bytes that we decode."
            )


@dataclass(frozen=True, slots=True)
class Plane:
    """A greyscale image: `pixels` (H, W), uint8 or uint16, 0 is black and `maxval` white."""

    pixels: Grey
    maxval: int
    steps: tuple[Step, ...] = ()


def chunks(rows: int, columns: int) -> Iterator[slice]:
    """Cut an image into bands of rows of about a megapixel, so that temporaries stay small."""
    height = max(1, _CHUNK_PIXELS // max(1, columns))
    for top in range(0, rows, height):
        yield slice(top, min(rows, top + height))


def luma(colour: Grey) -> tuple[Grey, bool]:
    """Turn (H, W, 3) RGB into (H, W) grey of the same dtype; tell whether the channels differed.

    Equal channels convert exactly; others by the weights of Rec. 601.
    """
    rows, columns, _ = colour.shape
    grey = np.empty((rows, columns), colour.dtype)
    differ = False
    for band in chunks(rows, columns):
        red, green, blue = (colour[band, :, i].astype(np.uint32) for i in range(3))
        differ = differ or not (np.array_equal(red, green) and np.array_equal(red, blue))
        total = red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]
        grey[band] = (total + 0x8000) >> 16
    return grey, differ
