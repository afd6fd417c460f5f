"""Networks: folding is exact, the map explains the logit, and its cells lie where they say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from chalicelib.errors import ModelUnavailable
from chalicelib.inference.efficientnet_fused import FusedEfficientNetLite
from chalicelib.inference.networks import EfficientNetLite, build, standardise

LITE0 = "efficientnet-lite0-enlarged"


@pytest.fixture(scope="module")
def lively() -> EfficientNetLite:
    """A network whose batch norms do something, as after training."""
    torch.manual_seed(0)
    network = EfficientNetLite(2)
    with torch.no_grad():
        for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.running_mean.normal_(0, 0.05)  # type: ignore[union-attr]
            norm.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            norm.bias.normal_(0.2, 0.2)
    return network.eval()


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    return torch.randn(2, 1, 128, 128, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("packed", [True, False], ids=["oneDNN", "portable"])
@pytest.mark.parametrize("enlarged", [192, 161])
@torch.inference_mode()
def test_fused_is_plain(
    lively: EfficientNetLite, batch: torch.Tensor, enlarged: int, *, packed: bool
) -> None:
    plain = EfficientNetLite(2, enlarged=enlarged).eval()
    plain.load_state_dict(lively.state_dict())
    fused = FusedEfficientNetLite(plain, packed=packed)
    ours, wanted = fused(batch), plain(batch)
    assert float(wanted.cams.std()) > 0.02
    torch.testing.assert_close(ours.logits, wanted.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.cams, wanted.cams, rtol=0, atol=1e-5)
    # It overwrites nothing that the next answer needs, and nothing of the plain one.
    torch.testing.assert_close(fused(batch), ours, rtol=0, atol=0)
    torch.testing.assert_close(plain(batch), wanted, rtol=0, atol=0)


def test_a_manifest_gets_the_fused_form(lively: EfficientNetLite) -> None:
    assert isinstance(build(LITE0, 2, lively.state_dict()), FusedEfficientNetLite)


@torch.inference_mode()
def test_the_map_s_mean_and_the_bias_are_the_logit(
    lively: EfficientNetLite, batch: torch.Tensor
) -> None:
    output = build(LITE0, 2, lively.state_dict())(batch)
    assert output.cams.shape == (2, 2, 6, 6)
    explained = output.cams.mean(dim=(2, 3)) + lively.classifier.bias
    torch.testing.assert_close(explained, output.logits, rtol=1e-4, atol=1e-4)


def seen_around(network: EfficientNetLite, row: int, column: int) -> tuple[float, float]:
    """Return how far down and across the pixels lie that one cell of the map depends on."""
    side = network.enlarged
    image = torch.randn(1, 1, side, side, requires_grad=True)
    network.features(image)[0, :, row, column].sum().backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None
    weight = image.grad[0, 0] ** 2
    places = torch.arange(side) + 0.5
    total = weight.sum()
    return (
        float((weight.sum(dim=1) * places).sum() / total),
        float((weight.sum(dim=0) * places).sum() / total),
    )


def test_cells_are_centred_on_what_they_cover() -> None:
    """No shift, no flip, no transpose.

    What a cell depends on reaches beyond the image and is cut off there, alike for two cells that
    lie opposite each other: their mean must be the centre of the image.
    """
    torch.manual_seed(2)
    network = EfficientNetLite(1, enlarged=512).eval()  # 16 x 16 cells of 32 pixels
    one, other = seen_around(network, 7, 10), seen_around(network, 8, 5)
    assert (one[0] + other[0]) / 2 == pytest.approx(256, abs=2.5)
    assert (one[1] + other[1]) / 2 == pytest.approx(256, abs=2.5)
    assert other[0] - one[0] == pytest.approx(1 * 32, abs=16)
    assert one[1] - other[1] == pytest.approx(5 * 32, abs=40)


def test_wrong_weights_are_refused(lively: EfficientNetLite) -> None:
    state = lively.state_dict()
    with pytest.raises(ModelUnavailable, match="unknown"):
        build("resnet", 2, state)
    with pytest.raises(ModelUnavailable, match="not those of"):
        build(LITE0, 3, state)
    del state["classifier.bias"]
    with pytest.raises(ModelUnavailable, match="not those of"):
        build(LITE0, 2, state)


def test_standardised_images_forget_brightness_and_contrast() -> None:
    image = torch.rand(1, 1, 64, 64) * 200
    torch.testing.assert_close(
        standardise(image), standardise(image * 0.3 + 20), atol=1e-4, rtol=1e-4
    )
    assert not standardise(torch.full((1, 1, 8, 8), 77.0)).any()
