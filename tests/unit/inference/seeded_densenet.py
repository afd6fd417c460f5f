"""A DenseNet-121 whose weights are drawn from its tensors' names, and images drawn by formula.

The same anywhere, so that torchxrayvision's answers, made once where it is installed, can be
compared with ours where it is not.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
import torch

from admin_cli.models.torchxrayvision_releases import RELEASES
from chalicelib.domain import ImageInfo, Radiograph
from chalicelib.inference.densenet import DenseNet121

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

ALL = RELEASES["densenet121-res224-all"]
# name -> height, width, largest value
IMAGES = {
    "square": (256, 256, 255),
    "landscape": (201, 300, 255),
    "portrait": (320, 225, 65535),
    "twelve bits": (224, 224, 4095),
    "small": (97, 130, 255),
}


def _drawn(name: str, shape: torch.Size) -> NDArray[np.float32]:
    """Return values in [0, 1) from the name alone."""
    generator = np.random.Generator(np.random.PCG64(crc32(name.encode())))
    return generator.random(tuple(shape), dtype=np.float32)


@cache
def state() -> dict[str, Tensor]:
    """Return a state dict that keeps activations and logits in the range of a trained network.

    A few batch norms have negative factors and a few factors are 0, as may happen in training.
    """
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in DenseNet121(18).state_dict().items()}
    tensors = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(0)
            continue
        drawn = torch.from_numpy(_drawn(name, shape))
        if len(shape) == 4:
            value = (drawn * 2 - 1) * (6 / shape[1:].numel()) ** 0.5
        elif name == "classifier.weight":
            value = (drawn * 2 - 1) * 0.1
        elif name == "classifier.bias":
            value = torch.logit(torch.tensor(ALL.points)) + drawn - 0.5
        elif name.endswith("running_var"):
            value = (drawn + 0.5) * (7e5 if "norm0" in name else 1)
        elif name.endswith("weight"):
            value = torch.where(drawn < 0.02, 0.0, drawn * 1.3 - 0.1)
        else:
            value = (drawn * 2 - 1) * 0.3
        tensors[name] = value
    return tensors


def plain() -> DenseNet121:
    """Return the network with that state, ready to answer."""
    network = DenseNet121(18)
    network.load_state_dict(state())
    network.eval().requires_grad_(requires_grad=False)
    return network


def pixels(name: str) -> tuple[NDArray[np.uint16], int]:
    """Return an image of IMAGES, (height, width), and its largest possible value."""
    height, width, maxval = IMAGES[name]
    y, x = np.mgrid[0:height, 0:width]
    waves = np.sin(x / width * 9 + height) * np.cos(y / height * 7)
    noise = _drawn(name, torch.Size((height, width)))
    value = (0.45 + 0.35 * waves + 0.2 * noise) * maxval
    return np.clip(np.rint(value), 0, maxval).astype(np.uint16), maxval


def radiograph(name: str) -> Radiograph:
    """Return the image as the decoder hands it on."""
    values, maxval = pixels(name)
    info = ImageInfo(format="PNG", width=values.shape[1], height=values.shape[0], sha256="0" * 64)
    return Radiograph(info, values.astype("<u2" if maxval > 255 else "u1").tobytes(), maxval)
