"""Hides how pixels become pictures for print: 8-bit greys, the heatmap's place and its colours."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageFilter

if TYPE_CHECKING:
    from chalicelib.domain import Heatmap, Radiograph

Size = tuple[int, int]

_WORD = 1 << 16
_BYTE_MAX = 255
_HALF = 128
_OPACITY = 0.72  # of the strongest heat: the anatomy below must stay readable
_UNSEEN = 0.45  # brightness left where the network's input did not reach
# Dark to light, so that on a greyscale print more heat is still another grey.
_RAMP = ((0.0, (120, 30, 0)), (0.5, (214, 88, 12)), (1.0, (255, 216, 130)))
_QUALITIES = (90, 80, 65, 50)


def greyscale(radiograph: Radiograph, size: Size) -> Image.Image:
    """Return the radiograph in `size` (width, height) pixels, mode ``L``, white at 255.

    Raises ValueError when the pixels do not fill the image that `info` describes.
    """
    original = (radiograph.info.width, radiograph.info.height)
    if radiograph.maxval <= _BYTE_MAX:
        raw = Image.frombytes("L", original, radiograph.pixels)
        image = raw.point(_to_byte(radiograph.maxval)[: _BYTE_MAX + 1])
    else:
        # Pillow's own conversion of "I;16" to "L" neither scales nor knows the maximum, and
        # only mode "I" takes a table of 65,536 entries.
        raw = Image.frombytes("I;16", original, radiograph.pixels)
        image = raw.convert("I").point(_to_byte(radiograph.maxval), "L")
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=1.5)


@lru_cache(maxsize=4)
def _to_byte(maxval: int) -> list[int]:
    """Return a table from 0…65535 to 0…255; what lies above `maxval` is white."""
    inside = min(maxval, _WORD - 1)
    table = [(2 * value * _BYTE_MAX + maxval) // (2 * maxval) for value in range(inside + 1)]
    return table + [_BYTE_MAX] * (_WORD - len(table))


def place(heatmap: Heatmap, original: Size, size: Size) -> Image.Image:
    """Return the heat at each pixel of the picture: mode ``L``, 0 outside of the map's box.

    `original` and `size` are (width, height) of the radiograph and of its picture. The grid's
    cells fill the box, so the centre of the first cell lies half a cell inside the box.
    """
    grid = Image.frombytes("L", (heatmap.width, heatmap.height), heatmap.values)
    heat = Image.new("L", size, 0)
    area = _area(heatmap, original, size)
    x1, y1, x2, y2 = area
    if x1 >= x2 or y1 >= y2:
        return heat
    # The area ends on whole pixels, the box does not: so it is the piece of the grid that is
    # cut to the area, in fractions of a cell, and never the area that is moved to the grid.
    left, top, right, bottom = heatmap.box
    cells_x, cells_y = heatmap.width / (right - left), heatmap.height / (bottom - top)
    step_x, step_y = original[0] / size[0], original[1] / size[1]
    piece = (
        max(0.0, (x1 * step_x - left) * cells_x),
        max(0.0, (y1 * step_y - top) * cells_y),
        min(float(heatmap.width), (x2 * step_x - left) * cells_x),
        min(float(heatmap.height), (y2 * step_y - top) * cells_y),
    )
    heat.paste(grid.resize((x2 - x1, y2 - y1), Image.Resampling.BICUBIC, box=piece), (x1, y1))
    return heat


def covers(heatmap: Heatmap, original: Size) -> bool:
    """Tell whether the network saw the whole radiograph, but for a pixel of rounding."""
    left, top, right, bottom = heatmap.box
    return left <= 1 and top <= 1 and right >= original[0] - 1 and bottom >= original[1] - 1


def overlay(
    picture: Image.Image, heatmap: Heatmap, original: Size, strength: float, *, outline: bool
) -> Image.Image:
    """Return the picture (mode ``L``) with the heat over it, mode ``RGB``.

    `strength` in [0, 1] fades the heat as a whole; `outline` draws the line at half of the
    heatmap's scale. What the network did not see is darkened.
    """
    heat = place(heatmap, original, picture.size)
    seen = Image.new("L", picture.size, 0)
    seen.paste(_BYTE_MAX, _area(heatmap, original, picture.size))
    grey = Image.composite(picture, picture.point([round(v * _UNSEEN) for v in range(256)]), seen)
    image = Image.composite(_coloured(heat), grey.convert("RGB"), heat.point(_alpha(strength)))
    return _outlined(image, heat) if outline else image


def colour_scale(size: Size, strength: float) -> Image.Image:
    """Return the colours of the heat from none to most, over the mid-grey of a lung."""
    ramp = Image.linear_gradient("L").rotate(90).resize(size)
    ground = Image.new("RGB", size, (96, 96, 96))
    return Image.composite(_coloured(ramp), ground, ramp.point(_alpha(strength)))


def jpeg(image: Image.Image, limit: int) -> BytesIO:
    """Return the picture as JPEG of at most `limit` bytes if the coarsest quality allows it."""
    for quality in _QUALITIES:
        file = BytesIO()
        # No chroma subsampling: it would smear the outline.
        image.save(file, "JPEG", quality=quality, subsampling=0)
        if file.tell() <= limit:
            break
    file.seek(0)
    return file


def _area(heatmap: Heatmap, original: Size, size: Size) -> tuple[int, int, int, int]:
    """Return the part of the picture that the heatmap covers: left, top, right, bottom."""
    scale_x, scale_y = size[0] / original[0], size[1] / original[1]
    left, top, right, bottom = heatmap.box
    return (
        max(0, round(left * scale_x)),
        max(0, round(top * scale_y)),
        min(size[0], round(right * scale_x)),
        min(size[1], round(bottom * scale_y)),
    )


def _coloured(heat: Image.Image) -> Image.Image:
    return Image.merge("RGB", [heat.point(table) for table in _ramp_tables()])


@lru_cache(maxsize=1)
def _ramp_tables() -> tuple[list[int], list[int], list[int]]:
    red, green, blue = (
        [_ramp(value / _BYTE_MAX, band) for value in range(256)] for band in range(3)
    )
    return red, green, blue


def _ramp(heat: float, band: int) -> int:
    (low, dark), (middle, mid), (high, light) = _RAMP
    if heat <= middle:
        share, start, end = (heat - low) / (middle - low), dark, mid
    else:
        share, start, end = (heat - middle) / (high - middle), mid, light
    return round(start[band] + share * (end[band] - start[band]))


def _alpha(strength: float) -> list[int]:
    return [round(value * _OPACITY * strength) for value in range(256)]


def _outlined(image: Image.Image, heat: Image.Image) -> Image.Image:
    """Draw a white line with a dark rim, which shows on bone, on lung and on a grey print."""
    inside = heat.point([0] * _HALF + [_BYTE_MAX] * _HALF)
    line = ImageChops.subtract(inside, inside.filter(ImageFilter.MinFilter(3)))
    rim = line.filter(ImageFilter.MaxFilter(5)).filter(ImageFilter.GaussianBlur(0.8))
    image = Image.composite(Image.new("RGB", image.size, 0), image, rim.point(_alpha(0.8)))
    core = line.filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.GaussianBlur(0.8))
    return Image.composite(Image.new("RGB", image.size, (255, 255, 255)), image, core)
