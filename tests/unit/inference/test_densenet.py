"""DenseNet-121: fused is plain, and both are torchxrayvision's, preprocessing included."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from chalicelib.errors import ModelUnavailable
from chalicelib.inference.densenet import DenseNet121, FusedDenseNet121
from chalicelib.inference.framing import frame, square
from chalicelib.inference.manifest import InputContract, LabelClaim, Preprocessing
from chalicelib.inference.networks import build
from chalicelib.inference.resampling import gaussian_bilinear
from chalicelib.inference.scale import score
from tests.unit.inference.seeded_densenet import ALL, IMAGES, plain, radiograph, state
from tests.unit.inference.torchxrayvision_peer import answers as peer_answers

PEER = Path(__file__).with_name("torchxrayvision.json")
HOW = Preprocessing(framing="crop", resize="gaussian-bilinear")
WANTED = InputContract(size=224, range="minus-1024-to-1024")


@pytest.fixture(scope="module")
def network() -> DenseNet121:
    return plain()


@pytest.fixture(scope="module", params=[True, False], ids=["oneDNN", "portable"])
def fused(request: pytest.FixtureRequest, network: DenseNet121) -> FusedDenseNet121:
    return FusedDenseNet121(network, packed=request.param)


@pytest.mark.parametrize("shape", [(1, 1, 224, 224), (2, 1, 96, 130), (1, 1, 33, 32)])
def test_fused_is_plain(
    network: DenseNet121, fused: FusedDenseNet121, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    batch = torch.randn(shape) * 500
    with torch.inference_mode():
        ours, wanted = fused(batch), network(batch)
    assert ours.cams.shape == wanted.cams.shape
    assert float(wanted.logits.std()) > 0.5  # the seeded network does tell images apart
    torch.testing.assert_close(ours.logits, wanted.logits, rtol=0, atol=2e-4)
    torch.testing.assert_close(ours.cams, wanted.cams, rtol=0, atol=1e-3)


def test_norms_that_turn_or_block_a_channel_are_among_the_tested() -> None:
    factors = [value for name, value in state().items() if name.endswith("norm1.weight")]
    assert any(bool((value < 0).any()) for value in factors)
    assert any(bool((value == 0).any()) for value in factors)


def test_a_map_and_the_bias_give_the_logit(network: DenseNet121, fused: FusedDenseNet121) -> None:
    batch = torch.randn((1, 1, 224, 224), generator=torch.Generator().manual_seed(1)) * 500
    with torch.inference_mode():
        output = fused(batch)
    assert output.cams.shape == (1, 18, 7, 7)
    again = output.cams.mean(dim=(2, 3)) + network.classifier.bias
    torch.testing.assert_close(again, output.logits, rtol=0, atol=1e-4)


def test_fusing_leaves_the_number_of_threads(network: DenseNet121) -> None:
    before = torch.get_num_threads()
    FusedDenseNet121(network)
    assert torch.get_num_threads() == before


def test_a_manifest_may_name_it_and_gets_the_fused_form() -> None:
    assert isinstance(build("densenet121", 18, state()), FusedDenseNet121)


def test_weights_of_another_number_of_labels_are_refused() -> None:
    with pytest.raises(ModelUnavailable, match="not those of 'densenet121'"):
        build("densenet121", 17, state())


# --- torchxrayvision ---------------------------------------------------------------------


def ours_for(network: FusedDenseNet121) -> dict[str, list[float]]:
    claims = [
        LabelClaim(name="x", slope=1, intercept=0, threshold=0.5, pivot=point, dataset="none")
        for point in ALL.points
    ]
    found = {}
    for name in IMAGES:
        batch, _ = frame(radiograph(name), HOW, WANTED)
        with torch.inference_mode():
            logits: list[float] = network(batch).logits[0].tolist()
        found[name] = [score(claim, logit) for claim, logit in zip(claims, logits, strict=True)]
    return found


def test_our_outputs_are_those_that_torchxrayvision_gave(fused: FusedDenseNet121) -> None:
    peer = json.loads(PEER.read_text())["answers"]
    for name, ours in ours_for(fused).items():
        assert max(peer[name]) - min(peer[name]) > 0.3, "answers that could not be told apart"
        assert ours == pytest.approx(peer[name], abs=1e-5), name


@pytest.mark.skipif(
    find_spec("torchxrayvision") is None,
    reason="torchxrayvision is not installed (it needs torchvision); its stored answers are used",
)
def test_our_outputs_are_those_that_torchxrayvision_gives(fused: FusedDenseNet121) -> None:
    peer = peer_answers()
    for name, ours in ours_for(fused).items():
        assert ours == pytest.approx(peer[name], abs=1e-5), name


# --- its preprocessing and scale ---------------------------------------------------------


def test_an_odd_square_is_cut_where_torchxrayvision_cuts_it() -> None:
    _, box = square(torch.zeros(1, 1, 5, 8), "crop", 5)
    assert box == (2, 0, 7, 5)


def test_an_image_of_the_right_size_is_not_resampled() -> None:
    image = torch.arange(16.0).view(1, 1, 4, 4)
    assert gaussian_bilinear(image, 4) is image


def test_resizing_keeps_the_inside_of_a_uniform_image_and_fades_its_border() -> None:
    """Beyond the border is 0; an image that reaches across 0 is pulled towards it there."""
    image = torch.full((1, 1, 90, 90), 100.0)
    image[0, 0, 45, 45] = -1.0
    resized = gaussian_bilinear(image, 30)[0, 0]
    assert float(resized[8, 8]) == pytest.approx(100, abs=1e-3)
    assert 50 < float(resized[0, 8]) < 99
    assert float(resized[0, 0]) < float(resized[0, 8])


def test_no_value_leaves_the_range_of_the_image() -> None:
    image = torch.full((1, 1, 90, 60), 100.0)
    assert torch.equal(gaussian_bilinear(image, 30), torch.full((1, 1, 30, 30), 100.0))


@pytest.mark.parametrize("pivot", [0.002, 0.2, 0.7])
def test_the_decision_scale_has_the_pivot_in_its_middle(pivot: float) -> None:
    claim = LabelClaim(name="x", slope=1, intercept=0, threshold=0.5, pivot=pivot, dataset="none")

    def at(p: float) -> float:
        return score(claim, float(torch.logit(torch.tensor(p, dtype=torch.float64))))

    assert at(pivot) == pytest.approx(0.5)
    assert at(pivot / 2) == pytest.approx(0.25)
    assert at((1 + pivot) / 2) == pytest.approx(0.75)
    assert score(claim, -1e4) == pytest.approx(0, abs=1e-12)
    assert score(claim, 1e4) == 1


def test_without_a_pivot_the_number_is_the_calibrated_probability() -> None:
    claim = LabelClaim(name="x", slope=2, intercept=-1, threshold=0.5, dataset="none")
    assert score(claim, 0.5) == 0.5
    assert score(claim, 3) == pytest.approx(float(torch.sigmoid(torch.tensor(5.0))))
