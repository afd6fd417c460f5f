"""What the first request of a process does, with inputs made on the spot: no pack, no image.

A new tree of packages is tried out with it before it may serve, and what it imports and touches is
what later processes read ahead.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import torch
from PIL import Image
from safetensors.torch import load, save

from chalicelib.errors import ModelUnavailable
from chalicelib.inference.decoding import dicom
from chalicelib.inference.framing import square
from chalicelib.inference.gate_network import GateNet, pool, sample
from chalicelib.inference.gate_network import standardise as standardise_cells
from chalicelib.inference.imaging import ImageDecoder
from chalicelib.inference.networks import EfficientNetLite, build, standardise
from chalicelib.inference.threads import one_thread

if TYPE_CHECKING:
    from chalicelib.domain import Radiograph

_SIDE = 256
_DICOM = dicom.__name__  # imported for its own imports


def rehearse() -> None:
    """Decode a PNG, judge it and predict. Raises ModelUnavailable when a number is none."""
    radiograph = ImageDecoder().decode(_png())
    with one_thread(), torch.inference_mode():
        cells = pool(torch.from_numpy(sample(radiograph))[None, None])
        GateNet().folded()(standardise_cells(cells))
        weights = load(save(EfficientNetLite(1).state_dict()))
        network = build("efficientnet-lite0-enlarged", 1, weights)
        image = _tensor(radiograph)
        batch, _ = square(image, "pad", 128)
        output = network(standardise(batch).contiguous(memory_format=torch.channels_last))
        if not bool(output.logits.isfinite().all()):
            raise ModelUnavailable("torch does not compute here")


def _png() -> bytes:
    with io.BytesIO() as file:
        Image.linear_gradient("L").resize((_SIDE, _SIDE)).save(file, "PNG")
        return file.getvalue()


def _tensor(radiograph: Radiograph) -> torch.Tensor:
    flat = torch.frombuffer(bytearray(radiograph.pixels), dtype=torch.uint8)
    return flat.view(1, 1, radiograph.info.height, radiograph.info.width).float()
