"""Write a pack: weights, golden input, card and the manifest that vouches for them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save

from chalicelib.inference.manifest import WEIGHTS, Manifest
from chalicelib.inference.packs import MANIFEST
from training.golden import phantom

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

GOLDEN = "golden.pgm"
CARD = "MODEL_CARD.md"
FORMAT = 1


def shrink(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Halve the kernels to float16; vectors (norms and biases) are small and stay float32."""
    return {
        name: value.to(torch.float16).contiguous() if value.ndim > 1 else value.contiguous()
        for name, value in state.items()
    }


def contents(state: dict[str, Tensor], card: str) -> dict[str, bytes]:
    """Return the pack's files but for the manifest."""
    return {WEIGHTS: save(shrink(state)), GOLDEN: phantom(), CARD: card.encode()}


def write(folder: Path, claims: dict[str, Any], files: dict[str, bytes]) -> Manifest:
    """Write `files` and the manifest that vouches for them into `folder`; return the manifest.

    Other files that the folder's manifest already named, such as the gate's, are kept.

    claims: the manifest without `format`, `files` and the golden input's name.
    """
    files = {**_others(folder, files), **files}
    whole = {
        "format": FORMAT,
        **claims,
        "golden": {"input": GOLDEN, **claims["golden"]},
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        },
    }
    manifest = Manifest.model_validate_json(json.dumps(whole))
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


def _others(folder: Path, own: dict[str, bytes]) -> dict[str, bytes]:
    if not (folder / MANIFEST).exists():
        return {}
    named = json.loads((folder / MANIFEST).read_text())["files"]
    return {name: (folder / name).read_bytes() for name in named if name not in own}
