"""How long `cardionet` takes from a decoded 512 x 512 radiograph to findings and heatmap.

`python -m benchmarks.predict` prints one JSON document. Plain eager PyTorch runs the same weights
with batch norm unfolded and the default memory layout; both are timed in turns, so that a busy
machine slows both alike and their ratio keeps its meaning.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load as parse_safetensors

from chalicelib.domain import ImageInfo, Radiograph
from chalicelib.inference.framing import frame
from chalicelib.inference.manifest import WEIGHTS
from chalicelib.inference.model import load
from chalicelib.inference.networks import EfficientNetLite
from chalicelib.inference.packs import active_pack, read_file

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE = 512
WARM_UP = 5


def radiograph() -> Radiograph:
    """Return grey noise of the benchmark's size; what is on it does not change the time."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    info = ImageInfo(format="PNG", width=SIDE, height=SIDE, sha256="0" * 64)
    return Radiograph(info, pixels.tobytes(), 255)


def in_turns(rounds: int, *calls: Callable[[], object]) -> list[list[float]]:
    """Return the milliseconds of each call, (calls, rounds), run alternately after a warm-up."""
    for call in calls:
        for _ in range(WARM_UP):
            call()
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, own in zip(calls, times, strict=True):
            began = time.perf_counter()
            call()
            own.append((time.perf_counter() - began) * 1e3)
    return times


def main() -> None:
    """Time both ways and print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    pack = active_pack(options.models)
    model, image = load(pack), radiograph()
    plain = EfficientNetLite(len(pack.manifest.labels))
    tensors = parse_safetensors(read_file(pack, WEIGHTS))
    plain.load_state_dict(
        {name: value.to(plain.state_dict()[name]) for name, value in tensors.items()}
    )
    plain.eval()

    @torch.inference_mode()
    def eager() -> object:
        batch, _ = frame(image, pack.manifest.preprocessing, pack.manifest.input)
        return plain(batch)

    ours, theirs = in_turns(options.rounds, lambda: model.answer(image), eager)
    document = {
        "pack": f"{pack.ref.name}@{pack.ref.version}",
        "image": f"{SIDE}x{SIDE}",
        "threads": options.threads,
        "median_ms": round(statistics.median(ours), 2),
        "best_ms": round(min(ours), 2),
        "eager_median_ms": round(statistics.median(theirs), 2),
        "ratio_to_eager": round(statistics.median(ours) / statistics.median(theirs), 3),
    }
    json.dump(document, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
