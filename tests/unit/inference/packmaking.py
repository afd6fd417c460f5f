"""Complete packs for tests: real architecture, random weights, a golden answer that holds."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save

from chalicelib.inference.framing import frame, read_pgm
from chalicelib.inference.manifest import WEIGHTS, InputContract, Preprocessing
from chalicelib.inference.networks import EfficientNetLite, build

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 32
GOLDEN = "golden.pgm"
PGM = b"P5\n40 32\n255\n" + bytes((x * 5 + y * 3) % 256 for y in range(32) for x in range(40))


@cache
def weights(seed: int) -> tuple[bytes, float]:
    """Return a safetensors file of random weights and the probability for the golden input."""
    torch.manual_seed(seed)
    state = EfficientNetLite(1).state_dict()
    batch, _ = frame(read_pgm(PGM, ""), Preprocessing(framing="stretch"), InputContract(size=SIZE))
    with torch.inference_mode():
        logit = build("efficientnet-lite0-enlarged", 1, state)(batch).logits
    return save(state), float(torch.sigmoid(logit))


def manifest_of(name: str, version: str, seed: int) -> dict[str, Any]:
    """Return a manifest as a dictionary that a test may spoil before it is written."""
    data, answer = weights(seed)
    label = {
        "name": "Cardiomegaly",
        "slope": 1.0,
        "intercept": 0.0,
        "threshold": 0.0,
        "prevalence": 0.5,
        "auroc": 0.5,
        "auroc_low": 0.4,
        "auroc_high": 0.6,
        "dataset": "none: random weights",
    }
    return {
        "format": 1,
        "name": name,
        "version": version,
        "architecture": "efficientnet-lite0-enlarged",
        "labels": [label],
        "input": {"size": SIZE},
        "preprocessing": {"framing": "stretch"},
        "licence": "MIT",
        "files": {
            file: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for file, content in {WEIGHTS: data, GOLDEN: PGM}.items()
        },
        "golden": {"input": GOLDEN, "probabilities": [answer], "tolerance": 1e-3},
    }


def write_pack(model_dir: Path, manifest: dict[str, Any], seed: int = 0) -> Path:
    """Write the pack into the folder that its manifest asks for and return that folder."""
    folder = model_dir / f"{manifest['name']}-{manifest['version']}"
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(weights(seed)[0])
    (folder / GOLDEN).write_bytes(PGM)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def install(model_dir: Path, name: str = "alpha", version: str = "1", seed: int = 0) -> Path:
    """Write a sound pack and return its folder."""
    return write_pack(model_dir, manifest_of(name, version, seed), seed)
