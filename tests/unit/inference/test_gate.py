"""The shipped gate on real files: the chest passes in every encoding, everything else does not."""

from __future__ import annotations

import statistics
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from chalicelib.errors import RadgateError
from chalicelib.inference.gate import ChestGate
from chalicelib.inference.imaging import ImageDecoder
from tests.unit.inference.chests import chest, radiograph
from tests.unit.inference.dicom_files import every_file, read
from training.gate_drawings import DRAWINGS
from training.gate_views import drawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "models" / "cardionet-1"
REASONS = {
    "not_a_radiograph",
    "not_a_chest",
    "lateral_or_rotated",
    "inverted",
    "blank",
    "too_small",
}
DECODER = ImageDecoder()
GATE = ChestGate.load(SHIPPED)


@pytest.mark.parametrize("name", ["RG1_J2KI.dcm", "RG1_J2KR.dcm", "RG1_UNCI.dcm", "RG1_UNCR.dcm"])
def test_the_chest_passes_in_every_encoding(name: str) -> None:
    quality = GATE.judge(DECODER.decode(read(name)))

    assert quality.accepted
    assert quality.reasons == ()
    assert quality.score > 0.8


@pytest.mark.parametrize("name", ["RG3_J2KI.dcm", "RG3_J2KR.dcm", "RG3_UNCI.dcm", "RG3_UNCR.dcm"])
def test_the_leg_does_not(name: str) -> None:
    quality = GATE.judge(DECODER.decode(read(name)))

    assert not quality.accepted
    assert set(quality.reasons) <= {"not_a_chest", "not_a_radiograph"}


def test_a_mirrored_or_smaller_or_shallower_chest_passes() -> None:
    pixels = chest()
    usual = [
        radiograph(np.fliplr(pixels), 65535),
        radiograph(pixels >> 8),
        radiograph(pixels[::8, ::8], 65535),
        radiograph(pixels[90:-90, 90:-90], 65535),
    ]

    assert [GATE.judge(image).accepted for image in usual] == [True] * 4


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_chest_is_refused_as_turned(quarters: int) -> None:
    quality = GATE.judge(radiograph(np.rot90(chest(), quarters), 65535))

    assert not quality.accepted
    assert quality.reasons == ("lateral_or_rotated",)


def test_an_inverted_chest_is_refused_as_inverted() -> None:
    quality = GATE.judge(radiograph(65535 - chest(), 65535))

    assert not quality.accepted
    assert quality.reasons == ("inverted",)


def test_a_wrong_monochrome_tag_is_found_and_corrected() -> None:
    # What the tag says of the real chest, contradicted: MONOCHROME1 becomes MONOCHROME2.
    body = read("RG1_UNCR.dcm").replace(b"MONOCHROME1 ", b"MONOCHROME2 ")

    corrected = ImageDecoder(gate=GATE).decode(body)

    assert corrected.info.steps == ("voi_lut", "invert_corrected")
    assert GATE.judge(corrected).accepted
    assert ImageDecoder(gate=GATE).decode(read("RG1_UNCR.dcm")).info.steps == ("voi_lut", "invert")


def test_blank_small_and_long_images_are_named_so() -> None:
    flat = np.full((400, 400), 128)
    grain = np.random.default_rng(5).normal(128, 2, (400, 400)).astype(np.uint8)
    small = (chest()[::40, ::40]) >> 8
    long = np.vstack([chest()[::8, ::8]] * 3) >> 8

    for pixels, reason in [
        (flat, "blank"),
        (grain, "blank"),
        (small, "too_small"),
        (long, "not_a_chest"),
    ]:
        assert GATE.judge(radiograph(pixels)).reasons == (reason,)


@pytest.mark.filterwarnings("ignore")  # of pydicom, which reads the modality here
def test_other_modalities_are_refused() -> None:
    refused, seen = 0, 0
    for path in every_file().values():
        header = pydicom.dcmread(path, force=True, specific_tags=["Modality"])
        if header.get("Modality") not in {"CT", "MR", "US", "NM", "SEG"}:
            continue
        try:
            image = DECODER.decode(path.read_bytes())
        except RadgateError:
            continue
        seen += 1
        refused += not GATE.judge(image).accepted

    assert seen > 60
    assert refused / seen >= 0.95


@pytest.mark.parametrize("name", DRAWINGS)
def test_drawn_pictures_are_refused(name: str) -> None:
    rng = np.random.default_rng(4711)
    _, draw = DRAWINGS[name]

    verdicts = [GATE.judge(radiograph(draw(rng))) for _ in range(40)]

    assert sum(not v.accepted for v in verdicts) >= 38
    assert {reason for v in verdicts for reason in v.reasons} <= REASONS


def test_a_body_seen_from_the_side_is_refused_as_that_and_from_the_front_is_not() -> None:
    seen = drawn(25, np.random.default_rng(4711))

    assert all(GATE.judge(radiograph(image)).accepted for image in seen.frontal)
    for image in seen.lateral:
        assert GATE.judge(radiograph(image)).reasons == ("lateral_or_rotated",)


def test_a_letter_is_no_radiograph() -> None:
    page = Image.new("L", (1240, 1754), 255)
    text = "The patient's chest radiograph shows an enlarged heart. " * 3
    for line in range(40):
        place, font = (100, 100 + line * 38), ImageFont.load_default(size=24)
        ImageDraw.Draw(page).text(place, text[line : line + 75], fill=0, font=font)

    quality = GATE.judge(radiograph(np.asarray(page)))

    assert not quality.accepted
    assert quality.reasons[0] in {"not_a_radiograph", "not_a_chest"}


def test_photographs_are_refused() -> None:
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        pytest.skip("needs the photographs of scikit-learn, which is not installed")
    for path in (Path(package.origin).parent / "datasets" / "images").glob("*.jpg"):
        assert not GATE.judge(DECODER.decode(path.read_bytes())).accepted


def test_98_of_100_real_chests_pass_and_their_wrong_poses_do_not(
    sample: Callable[[str], bytes],
) -> None:
    with np.load(BytesIO(sample("cardiomegaly128/test.npz")), allow_pickle=False) as archive:
        images = archive["images"]

    def share(pose: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> float:
        return statistics.mean(GATE.judge(radiograph(pose(i))).accepted for i in images)

    assert share(lambda image: image) >= 0.98
    assert share(np.fliplr) >= 0.98
    assert share(lambda image: 255 - image) <= 0.05
    for quarters in (1, 2, 3):
        assert share(lambda image, q=quarters: np.rot90(image, q)) <= 0.05  # type: ignore[misc]


@pytest.mark.parametrize(
    "name", ["00000001_000.png", "16747_3_1.jpg", "h0001.png", "Fake_MONOHR1.dcm"]
)
def test_the_sample_chests_pass(sample: Callable[[str], bytes], name: str) -> None:
    decoded = ImageDecoder(gate=GATE).decode(sample(f"samples/{name}"))

    assert GATE.judge(decoded).accepted
    assert ("invert_corrected" in decoded.info.steps) == name.startswith("Fake")


def test_the_answer_does_not_depend_on_threads() -> None:
    image = radiograph(chest(), 65535)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = GATE.judge(image).score
        torch.set_num_threads(2)
        assert GATE.judge(image).score == alone
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
