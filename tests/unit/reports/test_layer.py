"""The heatmap as a picture of its own: it lies where the heat is, and holds nothing else."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from chalicelib.reports.pdf import PdfReportWriter
from tests.fakes.reports import a_hot_cell, a_radiograph

if TYPE_CHECKING:
    from chalicelib.domain import Heatmap


def painted(width: int, height: int, heatmap: Heatmap) -> Image.Image:
    png = PdfReportWriter().paint(a_radiograph(width, height), heatmap)
    return Image.open(BytesIO(png), formats=["PNG"])


def centre_of_heat(layer: Image.Image) -> tuple[float, float]:
    """Return the opacity's centre of mass as shares of width and height."""
    alpha = layer.getchannel("A").tobytes()
    weights = [
        (alpha[y * layer.width + x], x, y)
        for x in range(0, layer.width, 4)
        for y in range(0, layer.height, 4)
    ]
    total = sum(weight for weight, _, _ in weights)
    return (
        sum(weight * x for weight, x, _ in weights) / total / layer.width,
        sum(weight * y for weight, _, y in weights) / total / layer.height,
    )


@pytest.mark.parametrize(("width", "height"), [(512, 512), (300, 500), (2000, 1000)])
def test_the_heat_lies_where_its_cell_is(width: int, height: int) -> None:
    # Cell (6, 2) of 9 x 7 has no twin under a flip, a turn or a shift.
    layer = painted(width, height, a_hot_cell((0, 0, width, height)))
    assert centre_of_heat(layer) == pytest.approx((6.5 / 9, 2.5 / 7), abs=0.02)


def test_a_cropped_map_is_put_back_to_where_it_was_cut() -> None:
    layer = painted(1000, 500, a_hot_cell((250, 0, 750, 500)))
    assert centre_of_heat(layer) == pytest.approx((0.25 + 0.5 * 6.5 / 9, 2.5 / 7), abs=0.02)
    assert layer.getchannel("A").crop((0, 0, 240, 500)).getextrema() == (0, 0)


@pytest.mark.parametrize(
    ("original", "size"),
    [((512, 512), (512, 512)), ((1841, 1955), (964, 1024)), ((3000, 300), (1024, 102))],
)
def test_it_keeps_the_proportions_and_stays_small(
    original: tuple[int, int], size: tuple[int, int]
) -> None:
    layer = painted(*original, a_hot_cell((0, 0, *original)))
    assert layer.mode == "RGBA"
    assert layer.size == size


def test_it_holds_nothing_of_the_radiograph() -> None:
    heatmap = a_hot_cell((0, 0, 64, 64))
    dark = PdfReportWriter().paint(a_radiograph(pixels=bytes(64 * 64)), heatmap)
    bright = PdfReportWriter().paint(a_radiograph(pixels=b"\xff" * (64 * 64)), heatmap)
    assert dark == bright
