"""Hides how pixels become pictures for print: 8-bit greys, the heatmap's place and its colours."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from statistics import NormalDist
from typing import TYPE_CHECKING

from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from chalicelib.domain import Heatmap, Radiograph

Size = tuple[int, int]

_BYTE_MAX = 255
_HALF = 128
_OPACITY = 0.72  # of the strongest heat: the anatomy below must stay readable
_ALPHA = [round(value * _OPACITY) for value in range(256)]  # opacity for each heat
_UNSEEN = 0.45  # brightness left where the network's input did not reach
# Dark to light, so that on a greyscale print more heat is still another grey.
_RAMP = ((0.0, (120, 30, 0)), (0.5, (214, 88, 12)), (1.0, (255, 216, 130)))
_SLOPE = 1.5  # pixels
_QUALITIES = (90, 80, 65, 50)


def greyscale(radiograph: Radiograph, size: Size) -> Image.Image:
    """Return the radiograph in `size` (width, height) pixels, mode ``L``, white at 255.

    Raises ValueError when the pixels do not fill the image that `info` describes.
    """
    original = (radiograph.info.width, radiograph.info.height)
    lanczos = Image.Resampling.LANCZOS
    share = _BYTE_MAX / radiograph.maxval
    if radiograph.maxval <= _BYTE_MAX:
        raw = Image.frombuffer("L", original, radiograph.pixels, "raw", "L", 0, 1)
        small = raw.resize(size, lanczos, reducing_gap=1.5)
        return small.point([min(_BYTE_MAX, round(value * share)) for value in range(256)])
    # Pillow cannot reduce "I;16" by a reducing gap, and its own conversion of it to "L" knows
    # no maximum. Scaled down first, since "I" takes four bytes for each pixel; "I" to "L" clips.
    raw = Image.frombuffer("I;16", original, radiograph.pixels, "raw", "I;16", 0, 1)
    return raw.resize(size, lanczos).convert("I").point(lambda v: v * share + 0.5).convert("L")


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


def overlay(picture: Image.Image, heatmap: Heatmap, original: Size) -> Image.Image:
    """Return the picture (mode ``L``) with the heat over it, mode ``RGB``.

    A line is drawn at half of the heatmap's scale. What the network did not see is darkened.
    """
    heat = place(heatmap, original, picture.size)
    seen = Image.new("L", picture.size, 0)
    seen.paste(_BYTE_MAX, _area(heatmap, original, picture.size))
    grey = Image.composite(picture, picture.point([round(v * _UNSEEN) for v in range(256)]), seen)
    image = Image.composite(_coloured(heat), grey.convert("RGB"), heat.point(_ALPHA))
    return _outlined(image, heat)


def heat_layer(heatmap: Heatmap, original: Size, size: Size) -> Image.Image:
    """Return the heat alone, mode ``RGBA``: transparent where there is none."""
    heat = place(heatmap, original, size)
    layer = _coloured(heat)
    layer.putalpha(heat.point(_ALPHA))
    return layer


def colour_scale(size: Size) -> Image.Image:
    """Return the colours of the heat from none to most, over the mid-grey of a lung."""
    ramp = Image.linear_gradient("L").rotate(90).resize(size)
    ground = Image.new("RGB", size, (96, 96, 96))
    return Image.composite(_coloured(ramp), ground, ramp.point(_ALPHA))


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


def _outlined(image: Image.Image, heat: Image.Image) -> Image.Image:
    """Draw a white line with a dark rim, which shows on bone, on lung and on a grey print.

    Blurring the hot area turns its edge into a slope on which each value is a distance from
    the edge: so the line has one width everywhere, and soft borders.
    """
    inside = heat.point([0] * _HALF + [_BYTE_MAX] * _HALF)
    slope = inside.filter(ImageFilter.GaussianBlur(_SLOPE))
    for colour, half_width, opacity in (("black", 2.5, 0.75), ("white", 1.1, 1.0)):
        paint = Image.new("RGB", image.size, colour)
        image = Image.composite(paint, image, slope.point(_line(half_width, opacity)))
    return image


@lru_cache(maxsize=4)
def _line(half_width: float, opacity: float) -> list[int]:
    """Return the opacity of a line for each value of the slope; `half_width` in pixels."""
    normal = NormalDist(sigma=_SLOPE)
    distances = (abs(normal.inv_cdf((value + 0.5) / 256)) for value in range(256))
    cover = (min(1.0, max(0.0, half_width + 0.5 - distance)) for distance in distances)
    return [round(_BYTE_MAX * opacity * share) for share in cover]
