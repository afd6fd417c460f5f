"""The gate's network and its view of a radiograph: 64 x 64 cells, three questions."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chalicelib.domain import Radiograph

SIDE = 64
KINDS = ("chest", "other_radiograph", "no_radiograph")
_CELL = 4  # samples along each side of a cell of the input
_WIDTHS = (16, 32, 48, 64)


class Answer(NamedTuple):
    """Logits for N images. kind: (N, 3), in the order of KINDS. upright, polarity: (N,)."""

    kind: Tensor
    upright: Tensor
    polarity: Tensor


class GateNet(nn.Module):
    """Four convolutions and one linear layer that still knows where things are; 52,000 weights.

    Input float32 (N, 1, 64, 64), each image of mean 0 and deviation 1.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width, kernel = 1, 5
        for wider in _WIDTHS:
            layers += [
                nn.Conv2d(width, wider, kernel, stride=2, padding=kernel // 2, bias=False),
                nn.BatchNorm2d(wider),
                nn.ReLU(inplace=True),
            ]
            width, kernel = wider, 3
        self.layers = nn.Sequential(*layers)
        self.drop = nn.Dropout(0.3)
        self.answer = nn.Linear(width * 16, len(KINDS) + 2)

    def folded(self) -> GateNet:
        """Return a copy for use, in which every norm is folded into its convolution."""
        copy = deepcopy(self).eval()
        layers = list(copy.layers)
        for place, layer in enumerate(layers):
            norm = layers[place + 1] if isinstance(layer, nn.Conv2d) else None
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                layers[place] = fuse_conv_bn_eval(layer, norm)
                layers[place + 1] = nn.Identity()
        copy.layers = nn.Sequential(*(x for x in layers if not isinstance(x, nn.Identity)))
        return copy.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> Answer:
        """Answer the three questions as logits."""
        features = self.drop(self.layers(x).flatten(1))
        out = self.answer(features)
        return Answer(out[:, : len(KINDS)], out[:, -2], out[:, -1])


def sample(radiograph: Radiograph) -> NDArray[np.float32]:
    """Take a grid of at most 256 x 256 pixels, float32 in [0, 1], every cell of equal weight.

    A grid and not the mean of all pixels: a thousandth of a large image is enough here.
    """
    kind = np.uint8 if radiograph.maxval <= np.iinfo(np.uint8).max else np.dtype("<u2")
    height, width = radiograph.info.height, radiograph.info.width
    pixels = np.frombuffer(radiograph.pixels, kind).reshape(height, width)
    count = SIDE * _CELL
    rows = (np.arange(count) * height + height // 2) // count
    columns = (np.arange(count) * width + width // 2) // count
    return pixels[np.ix_(rows, columns)].astype(np.float32) / np.float32(radiograph.maxval)


def pool(images: Tensor) -> Tensor:
    """Average (N, 1, H, W) down to (N, 1, 64, 64); H and W are multiples of 64."""
    return functional.avg_pool2d(images, (images.shape[2] // SIDE, images.shape[3] // SIDE))


def standardise(images: Tensor) -> Tensor:
    """Give each image of (N, 1, H, W) mean 0 and deviation 1; a flat one becomes 0."""
    centred = images - images.mean((2, 3), keepdim=True)
    return centred / centred.square().mean((2, 3), keepdim=True).sqrt().clamp_min(1e-4)
