from __future__ import annotations

from array import array

import numpy as np
import pytest
from PIL import Image

from chalicelib.domain import Heatmap
from chalicelib.reports import overlay
from tests.fakes.reports import a_hot_cell, a_radiograph

ORIGINAL = (600, 400)
PICTURE = (300, 200)
Box = tuple[float, float, float, float]


def centroid(image: Image.Image) -> tuple[float, float]:
    """Return the centre of mass in pixels, where (0.5, 0.5) is the middle of the first one."""
    weights = np.asarray(image, dtype=np.float64)
    rows, columns = np.indices(weights.shape) + 0.5
    return (
        float((columns * weights).sum() / weights.sum()),
        float((rows * weights).sum() / weights.sum()),
    )


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((0, 0, 600, 400), id="the whole image"),
        pytest.param((100, 0, 500, 400), id="a centre crop"),
        pytest.param((0, -100, 600, 500), id="padded above and below"),
        pytest.param((-60.3, 20.7, 640.1, 390.2), id="between the pixels"),
        pytest.param((-300, -50, 500, 650), id="far beyond"),
    ],
)
def test_the_map_lies_where_the_network_saw(box: Box) -> None:
    left, top, right, bottom = box
    heat = overlay.place(a_hot_cell(box), ORIGINAL, PICTURE)
    assert heat.size == PICTURE
    x, y = centroid(heat)
    assert x == pytest.approx((left + 6.5 / 9 * (right - left)) / 2, abs=0.6)
    assert y == pytest.approx((top + 2.5 / 7 * (bottom - top)) / 2, abs=0.6)


def test_the_map_is_scaled_to_a_picture_of_other_proportions() -> None:
    x, y = centroid(overlay.place(a_hot_cell((0, 0, 600, 400)), ORIGINAL, (90, 700)))
    assert x == pytest.approx(6.5 / 9 * 90, abs=0.6)
    assert y == pytest.approx(2.5 / 7 * 700, abs=0.6)


def test_nothing_glows_outside_of_the_box() -> None:
    box = (200.0, 100.0, 500.0, 300.0)
    flat = Heatmap("Mass", 2, 2, bytes([255] * 4), box)
    heat = np.asarray(overlay.place(flat, ORIGINAL, PICTURE))
    assert (heat[50:150, 100:250] == 255).all()
    assert heat.sum() == 255 * 100 * 150


@pytest.mark.parametrize("box", [(700, 0, 900, 400), (-90, -90, -1, -1), (50, 50, 50, 90)])
def test_a_box_without_a_part_in_the_image_is_no_heat(box: Box) -> None:
    assert overlay.place(a_hot_cell(box), ORIGINAL, PICTURE).getextrema() == (0, 0)


def test_what_the_network_did_not_see_is_darkened() -> None:
    grey = Image.new("L", PICTURE, 200)
    heatmap = a_hot_cell((100, 0, 500, 400), cell=(4, 3))
    seen = np.asarray(overlay.overlay(grey, heatmap, ORIGINAL).convert("L"))
    assert (seen[:, :50] == 90).all()
    assert (seen[:, 250:] == 90).all()
    assert (seen[0, 50:250] == 200).all()
    assert not overlay.covers(heatmap, ORIGINAL)
    assert overlay.covers(a_hot_cell((0.4, -3, 599.2, 700)), ORIGINAL)


def test_where_there_is_no_heat_nothing_is_drawn() -> None:
    grey = Image.new("L", PICTURE, 120)
    cold = Heatmap("Mass", 2, 2, bytes(4), (0, 0, 600, 400))
    assert overlay.overlay(grey, cold, ORIGINAL).convert("L").getextrema() == (120, 120)


def test_the_outline_stands_at_half_of_the_scale_and_shows_in_grey() -> None:
    ramp = Heatmap("Mass", 256, 1, bytes(range(256)), (0, 0, 512, 200))
    for ground in (0, 120, 255):
        picture = Image.new("L", (512, 200), ground)
        drawn = overlay.overlay(picture, ramp, (512, 200)).convert("L")
        row = np.asarray(drawn, dtype=int)[100]
        line = row[250:263]
        assert line.max() - line.min() > 80, f"no line on {ground}"
        assert abs(250 + int(line.argmax()) - 256) <= 2


def test_a_wide_range_of_bits_is_scaled_by_its_white() -> None:
    values = array("H", [0, 1024, 2048, 4095, 4095, 65535])
    radiograph = a_radiograph(3, 2, pixels=values.tobytes(), maxval=4095)
    grey = overlay.greyscale(radiograph, (3, 2))
    assert grey.mode == "L"
    assert list(grey.tobytes()) == [0, 64, 128, 255, 255, 255]


@pytest.mark.parametrize(("maxval", "expected"), [(255, [0, 1, 3, 15]), (15, [0, 17, 51, 255])])
def test_few_bits_are_scaled_too(maxval: int, expected: list[int]) -> None:
    radiograph = a_radiograph(2, 2, pixels=bytes([0, 1, 3, 15]), maxval=maxval)
    assert list(overlay.greyscale(radiograph, (2, 2)).tobytes()) == expected


def test_one_bit_is_black_and_white() -> None:
    radiograph = a_radiograph(2, 1, pixels=bytes([0, 1]), maxval=1)
    assert list(overlay.greyscale(radiograph, (2, 1)).tobytes()) == [0, 255]


@pytest.mark.parametrize("maxval", [255, 40_000])
def test_the_radiograph_is_neither_turned_nor_mirrored(maxval: int) -> None:
    # 256 values and more: two bytes a pixel. A white block right of and above the centre.
    pixels = np.zeros((80, 120), dtype="<u2" if maxval > 255 else "u1")
    pixels[10:20, 90:110] = maxval
    radiograph = a_radiograph(120, 80, pixels=pixels.tobytes(), maxval=maxval)
    x, y = centroid(overlay.greyscale(radiograph, (60, 40)))
    assert x == pytest.approx(50, abs=0.2)
    assert y == pytest.approx(7.5, abs=0.2)


@pytest.mark.parametrize("maxval", [255, 40_000])
def test_pixels_that_do_not_fill_the_image_are_refused(maxval: int) -> None:
    radiograph = a_radiograph(10, 10, pixels=bytes(99), maxval=maxval)
    with pytest.raises(ValueError, match="not large enough"):
        overlay.greyscale(radiograph, (10, 10))


def test_the_scale_gets_lighter_on_a_grey_print() -> None:
    scale = np.asarray(overlay.colour_scale((256, 1)).convert("L"), dtype=int)[0]
    assert scale[-1] - scale[0] > 50
    half = scale[128:]
    assert (np.diff(half) >= -1).all()


def test_even_noise_stays_below_the_limit_and_calm_pictures_keep_quality() -> None:
    noise = Image.frombytes("L", (660, 700), np.random.default_rng(7).bytes(660 * 700))
    free = len(overlay.jpeg(noise, 10**9).getvalue())
    capped = len(overlay.jpeg(noise, free - 1).getvalue())
    assert capped < free
    assert overlay.jpeg(Image.new("L", (660, 700), 90), 170_000).getvalue()[:2] == b"\xff\xd8"
