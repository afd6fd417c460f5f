"""The shipped gate on real files: the chest passes in every encoding, everything else does not."""

from __future__ import annotations

import hashlib
import json
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
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from chalicelib.domain import ImageInfo, Radiograph
from chalicelib.errors import ModelUnavailable, RadgateError
from chalicelib.inference.gate import CONFIG, WEIGHTS, ChestGate
from chalicelib.inference.imaging import ImageDecoder
from chalicelib.inference.model import prove_pack
from chalicelib.inference.packs import activate, verify_pack
from chalicelib.inference.predictor import Predictor
from tests.unit.inference.dicom_files import every_file, read
from tests.unit.inference.packmaking import install
from training.gate import enter
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


def radiograph(pixels: NDArray[np.integer], maxval: int = 255) -> Radiograph:
    height, width = pixels.shape
    info = ImageInfo(format="PNG", width=width, height=height, sha256="0" * 64)
    kind = np.uint8 if maxval <= 255 else np.dtype("<u2")
    return Radiograph(info, np.ascontiguousarray(pixels).astype(kind).tobytes(), maxval)


def chest(name: str = "RG1_J2KI.dcm") -> NDArray[np.uint16]:
    decoded = DECODER.decode(read(name))
    return np.frombuffer(decoded.pixels, "<u2").reshape(decoded.info.height, -1)


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

    assert corrected.info.steps == ("window", "invert_corrected")
    assert GATE.judge(corrected).accepted
    assert ImageDecoder(gate=GATE).decode(read("RG1_UNCR.dcm")).info.steps == ("window", "invert")


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


# --- loading ------------------------------------------------------------------------------


def copy(folder: Path, config: bytes | None = None, weights: bytes | None = None) -> Path:
    (folder / CONFIG).write_bytes(config or (SHIPPED / CONFIG).read_bytes())
    (folder / WEIGHTS).write_bytes(weights or (SHIPPED / WEIGHTS).read_bytes())
    return folder


def test_it_is_loaded_from_any_folder_and_stays_small(tmp_path: Path) -> None:
    image = radiograph(chest(), 65535)

    assert ChestGate.load(copy(tmp_path)).judge(image) == GATE.judge(image)
    assert (SHIPPED / WEIGHTS).stat().st_size < 500_000


def pack_with_gate(model_dir: Path, name: str) -> Path:
    folder = copy(install(model_dir, name))
    enter(folder)
    return folder


def test_the_active_pack_brings_it_and_vouches_for_it(tmp_path: Path) -> None:
    image = radiograph(chest(), 65535)
    pack = pack_with_gate(tmp_path, "alpha")

    verify_pack(pack)
    assert ChestGate.load(tmp_path).judge(image) == GATE.judge(image)

    (pack / CONFIG).write_bytes((pack / CONFIG).read_bytes().replace(b"0.5", b"0.1"))
    with pytest.raises(ModelUnavailable, match="not the file of the manifest"):
        ChestGate.load(tmp_path)


def test_a_pack_proves_its_gate_too(tmp_path: Path) -> None:
    pack = pack_with_gate(tmp_path, "alpha")
    prove_pack(pack)

    config = json.loads((pack / CONFIG).read_bytes())
    (pack / CONFIG).write_text(json.dumps({**config, "weights_sha256": "0" * 64}))
    enter(pack)
    verify_pack(pack)  # each file is the one of the manifest
    with pytest.raises(ModelUnavailable, match="belong together"):
        prove_pack(pack)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    tensors = load_tensors((SHIPPED / WEIGHTS).read_bytes())
    tensors["answer.bias"][0] = float("nan")
    weights = save_tensors(tensors)
    config = json.loads((SHIPPED / CONFIG).read_bytes())
    config["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    with pytest.raises(ModelUnavailable, match="no numbers"):
        ChestGate.load(copy(tmp_path, json.dumps(config).encode(), weights))


def test_a_pack_without_a_gate_borrows_another_ones(tmp_path: Path) -> None:
    install(tmp_path, "alpha")
    with pytest.raises(ModelUnavailable, match="no installed model brings a gate"):
        ChestGate.load(tmp_path)

    pack_with_gate(tmp_path, "beta")
    activate(tmp_path, "alpha", "1")

    assert ChestGate.load(tmp_path).judge(radiograph(chest(), 65535)).accepted


def test_the_gate_follows_the_active_pack_and_outlives_a_bad_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    image = radiograph(chest(), 65535)
    pack_with_gate(tmp_path, "alpha")
    strict = pack_with_gate(tmp_path, "beta")
    config = json.loads((strict / CONFIG).read_bytes())
    (strict / CONFIG).write_text(json.dumps({**config, "min_side": 60_000}))
    enter(strict)
    activate(tmp_path, "alpha", "1")
    gate = Predictor(tmp_path, refresh=30, clock=lambda: now[0])

    assert gate.judge(image).accepted
    activate(tmp_path, "beta", "1")
    assert gate.judge(image).accepted  # not yet looked again
    now[0] = 31
    assert gate.judge(image).reasons == ("too_small",)
    activate(tmp_path, "alpha", "1")
    (tmp_path / "alpha-1" / WEIGHTS).write_bytes(b"broken")
    now[0] = 62
    assert gate.judge(image).reasons == ("too_small",)
    assert "is refused" in caplog.text


def test_without_any_pack_there_is_no_gate(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable):
        Predictor(tmp_path).judge(radiograph(chest(), 65535))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    weights = bytearray((SHIPPED / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    config = json.loads((SHIPPED / CONFIG).read_bytes())
    with pytest.raises(ModelUnavailable, match="belong together"):
        ChestGate.load(copy(tmp_path, weights=bytes(weights)))

    for wrong in (b"{}", b"not json", json.dumps({**config, "threshold": 2}).encode()):
        with pytest.raises(ModelUnavailable, match="belong together"):
            ChestGate.load(copy(tmp_path, config=wrong))

    for content in (b"not safetensors at all", bytes(weights[:100])):
        renamed = {**config, "weights_sha256": hashlib.sha256(content).hexdigest()}
        with pytest.raises(ModelUnavailable, match="not those of its network"):
            ChestGate.load(copy(tmp_path, json.dumps(renamed).encode(), content))

    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(ModelUnavailable, match="missing"):
        ChestGate.load(tmp_path)


def test_a_folder_without_packs_has_no_gate(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable):
        ChestGate.load(tmp_path)


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
