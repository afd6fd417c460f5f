"""From radiograph to findings: depths and shapes, the golden input, the shipped pack."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from chalicelib.domain import ImageInfo, Radiograph
from chalicelib.errors import ModelUnavailable
from chalicelib.inference.framing import read_pgm, square
from chalicelib.inference.manifest import WEIGHTS
from chalicelib.inference.model import load, prove_pack
from chalicelib.inference.packs import load_manifest, verify_pack
from chalicelib.inference.predictor import Predictor
from tests.unit.inference.packmaking import PGM, install, manifest_of, write_pack

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "models"
DATA = Path(os.environ.get("RADGATE_SHARED_DATA", ROOT.parent / "shared" / "data"))


def radiograph(pixels: np.ndarray, maxval: int = 255) -> Radiograph:
    height, width = pixels.shape
    depth = "<u2" if maxval > 255 else "u1"
    info = ImageInfo(format="PNG", width=width, height=height, sha256="0" * 64)
    return Radiograph(info, pixels.astype(depth).tobytes(), maxval)


def drawn() -> np.ndarray:
    y, x = np.mgrid[0:300, 0:240]
    waves = 127 + 80 * np.sin(x / 23) * np.cos(y / 31)
    return np.asarray(waves, np.uint8)


def test_depth_makes_no_difference(tmp_path: Path) -> None:
    install(tmp_path)
    predictor = Predictor(tmp_path)
    shallow = predictor.predict(radiograph(drawn()))
    deep = predictor.predict(radiograph(drawn().astype(np.uint16) * 257, 65535))
    twelve = predictor.predict(radiograph(drawn().astype(np.uint16), 4095))
    for other in (deep, twelve):
        assert other.findings[0].probability == pytest.approx(
            shallow.findings[0].probability, abs=1e-4
        )


def test_a_prediction_names_its_pack_and_maps_positive_findings(tmp_path: Path) -> None:
    pack = verify_pack(install(tmp_path))
    prediction = Predictor(tmp_path).predict(radiograph(drawn()))
    assert prediction.model == pack.ref
    (finding,) = prediction.findings
    assert finding.positive  # the test pack's threshold is 0
    (heatmap,) = prediction.heatmaps
    assert (heatmap.width, heatmap.height) == (6, 6)
    assert len(heatmap.values) == 6 * 6
    assert heatmap.box == (0, 0, 240, 300)


def test_a_negative_finding_has_no_map(tmp_path: Path) -> None:
    manifest = manifest_of("alpha", "1", 0)
    manifest["labels"][0]["threshold"] = 1.0
    write_pack(tmp_path, manifest)
    prediction = Predictor(tmp_path).predict(radiograph(drawn()))
    assert not prediction.findings[0].positive
    assert prediction.heatmaps == ()


def test_a_batch_is_answered_as_its_images_are_alone(tmp_path: Path) -> None:
    install(tmp_path)
    predictor = Predictor(tmp_path)
    images = [
        radiograph(drawn()),
        radiograph(np.full((33, 47), 9)),
        radiograph(drawn().T.astype(np.uint16) * 257, 65535),
    ]
    together = predictor.predict_many(images)
    for alone, one in zip(map(predictor.predict, images), together, strict=True):
        assert one.facts == alone.facts
        [finding], [other] = one.findings, alone.findings
        assert finding.probability == pytest.approx(other.probability, abs=1e-5)
        assert [heatmap.box for heatmap in one.heatmaps] == [h.box for h in alone.heatmaps]
        for heatmap, wanted in zip(one.heatmaps, alone.heatmaps, strict=True):
            cells = np.frombuffer(heatmap.values, np.uint8).astype(int)
            assert np.abs(cells - np.frombuffer(wanted.values, np.uint8)).max() <= 1
    assert together[0].findings != together[1].findings


def test_an_empty_batch_has_an_empty_answer(tmp_path: Path) -> None:
    install(tmp_path)
    assert Predictor(tmp_path).predict_many([]) == ()


def test_warming_goes_on_behind_an_answer_that_came_too_soon(tmp_path: Path) -> None:
    install(tmp_path)
    predictor = Predictor(tmp_path)
    assert not predictor.warm(0)
    assert predictor.warm(60)
    assert predictor.warm(0)


def test_a_pack_that_cannot_be_loaded_is_told_and_tried_again(tmp_path: Path) -> None:
    predictor = Predictor(tmp_path)
    with pytest.raises(ModelUnavailable, match="no model is installed"):
        predictor.warm(60)
    install(tmp_path)
    assert predictor.warm(60)


def test_making_a_predictor_imports_no_torch() -> None:
    program = (
        "import sys; from pathlib import Path;"
        "from chalicelib.inference.predictor import Predictor;"
        "Predictor(Path()); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (33, 47), (128, 128)])
def test_any_shape_gets_a_finite_answer(tmp_path: Path, shape: tuple[int, int]) -> None:
    install(tmp_path)
    prediction = Predictor(tmp_path).predict(radiograph(np.full(shape, 9)))
    assert 0 <= prediction.findings[0].probability <= 1


@pytest.mark.parametrize(
    ("framing", "box"),
    [
        ("stretch", (0, 0, 60, 100)),
        ("crop", (0, 20, 60, 80)),
        ("pad", (-20, 0, 80, 100)),
    ],
)
def test_the_box_is_what_the_square_shows(
    framing: str, box: tuple[float, float, float, float]
) -> None:
    """A bright spot of the image lies where the box says that the square has it."""
    pixels = np.zeros((100, 60), np.float32)
    pixels[45:55, 10:16] = 255
    image, found = square(torch.from_numpy(pixels)[None, None], framing, 64)
    assert found == box
    weight = image[0, 0].numpy()
    cells = np.arange(64) + 0.5
    left, top, right, bottom = found
    across = float((weight.sum(0) * cells).sum() / weight.sum()) / 64 * (right - left) + left
    down = float((weight.sum(1) * cells).sum() / weight.sum()) / 64 * (bottom - top) + top
    assert across == pytest.approx(13, abs=0.5)
    assert down == pytest.approx(50, abs=0.5)


@pytest.mark.parametrize("shape", [(9_000, 300), (300, 9_000)])
def test_a_long_strip_is_not_padded_to_gigabytes(shape: tuple[int, int]) -> None:
    """Shrunk before it is padded, it gives what padding it whole would have given."""
    height, width = shape
    strip = torch.linspace(0, 255, height)[:, None] + torch.linspace(0, 255, width)[None]
    image, (left, top, right, bottom) = square(strip[None, None] / 2, "pad", 64)

    side = max(shape)
    whole = torch.zeros(1, 1, side, side)
    whole[0, 0, int(-top) : int(-top) + height, int(-left) : int(-left) + width] = strip / 2
    wanted, _ = square(whole, "stretch", 64)
    assert (right - left, bottom - top) == (side, side)
    assert float((image - wanted).abs().max()) < 2
    longest, _ = square(torch.full((1, 1, 50_000, 1_000), 9.0), "pad", 64)
    assert float(longest.mean()) == pytest.approx(9 / 50, rel=0.02)  # all else is black


def test_a_pack_with_another_answer_does_not_prove_itself(tmp_path: Path) -> None:
    manifest = manifest_of("alpha", "1", 0)
    manifest["golden"]["probabilities"] = [0.99]
    folder = write_pack(tmp_path, manifest)
    with pytest.raises(ModelUnavailable, match=r"golden input: Cardiomegaly is .* not 0\.9900"):
        Predictor(tmp_path).prove()
    with pytest.raises(ModelUnavailable, match=r"golden input: Cardiomegaly is .* not 0\.9900"):
        prove_pack(folder)


def test_a_sound_pack_proves_itself_in_a_process_of_its_own(tmp_path: Path) -> None:
    prove_pack(install(tmp_path))


def test_weights_that_are_no_safetensors_are_refused(tmp_path: Path) -> None:
    manifest = manifest_of("alpha", "1", 0)
    folder = write_pack(tmp_path, manifest)
    pickle = b"\x80\x04\x95\x00\x00\x00\x00"
    (folder / WEIGHTS).write_bytes(pickle)
    manifest["files"][WEIGHTS] = {
        "bytes": len(pickle),
        "sha256": hashlib.sha256(pickle).hexdigest(),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelUnavailable, match="no safetensors"):
        load(load_manifest(folder))


def test_no_pack_is_model_unavailable(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="no model is installed"):
        Predictor(tmp_path).predict(radiograph(drawn()))


@pytest.mark.parametrize("data", [b"", b"P2\n1 1\n255\n0", b"P5\n2 2\n255\nabc", PGM + b"x"])
def test_a_golden_input_that_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(ModelUnavailable):
        read_pgm(data, "0" * 64)


def test_a_deep_golden_input_is_read() -> None:
    got = read_pgm(b"P5\n2 1\n65535\n\x01\x02\xff\xfe", "0" * 64)
    assert got.pixels == b"\x02\x01\xfe\xff"


# --- the pack in the repository ---------------------------------------------------------


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return Predictor(SHIPPED)


def test_the_shipped_pack_is_sound(shipped: Predictor) -> None:
    pack = verify_pack(SHIPPED / "cardionet-1")
    assert pack.manifest.files[WEIGHTS].bytes <= 8_000_000
    shipped.prove()
    (facts,) = shipped.facts().labels
    assert facts.auroc is not None
    assert facts.auroc >= 0.89  # what the card reports is 0.895; never ship a worse one


@pytest.mark.parametrize(("name", "positive"), [("00000001_000.png", True), ("h0001.png", False)])
def test_the_shipped_pack_on_real_radiographs(
    shipped: Predictor, name: str, *, positive: bool
) -> None:
    path = DATA / "samples" / name
    if not path.exists():
        pytest.skip(f"no {path}: the sample radiographs are not part of the repository")
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    (finding,) = shipped.predict(radiograph(pixels)).findings
    assert finding.positive == positive


def test_the_shipped_pack_reaches_what_its_card_says(shipped: Predictor) -> None:
    path = DATA / "cardiomegaly128" / "test.npz"
    if not path.exists():
        pytest.skip(f"no {path}: the test images are not part of the repository")
    with np.load(path) as archive:
        images, labels = archive["images"][::8], archive["labels"][::8]
    scores = [shipped.predict(radiograph(image)).findings[0].probability for image in images]
    ordered = np.array(scores)
    above = ordered[labels == 1][:, None] > ordered[labels == 0][None]
    assert above.mean() > 0.85  # 70 of the images: a smoke test, not the figure on the card
