"""What torchxrayvision itself answers for the seeded network and images.

Run where it is installed (`pip install torch==2.14.1 torchvision==0.29.1 torchxrayvision==1.5.7`
and this project's light requirements), from the project's root:

    python -m tests.unit.inference.torchxrayvision_peer > tests/unit/inference/torchxrayvision.json

The answers are those of its own pipeline as its README shows it: normalize, XRayCenterCrop,
XRayResizer(224) with its default engine, DenseNet with op_threshs.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from importlib.metadata import version
from typing import Any

import torch

from tests.unit.inference.seeded_densenet import ALL, IMAGES, pixels, state

USED = ("torchxrayvision", "torch", "torchvision", "scikit-image", "numpy")


def answers() -> dict[str, list[float]]:
    """Return the peer's 18 outputs for each image."""
    xrv: Any = import_module("torchxrayvision")
    network = xrv.models.DenseNet(weights=None, num_classes=18)
    network.load_state_dict(state())
    network.eval()
    network.op_threshs = torch.tensor(ALL.points)
    network.input_resolution = 224
    crop, resize = xrv.datasets.XRayCenterCrop(), xrv.datasets.XRayResizer(224)
    found = {}
    for name in IMAGES:
        values, maxval = pixels(name)
        image = resize(crop(xrv.utils.normalize(values, maxval)[None]))
        with torch.inference_mode():
            found[name] = network(torch.from_numpy(image)[None])[0].tolist()
    return found


if __name__ == "__main__":
    document = {"made_with": {name: version(name) for name in USED}, "answers": answers()}
    json.dump(document, sys.stdout, indent=1)
    sys.stdout.write("\n")
