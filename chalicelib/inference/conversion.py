"""What an installer needs of a network: its tensors alone, and an answer to vouch for.

`radgate models install` makes packs of published weights; torch stays in this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from chalicelib.errors import ModelUnavailable
from chalicelib.inference.densenet import DenseNet121
from chalicelib.inference.framing import frame, read_pgm
from chalicelib.inference.scale import score
from chalicelib.inference.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chalicelib.inference.manifest import InputContract, LabelClaim, Preprocessing

_COUNTER = "num_batches_tracked"


def densenet121_weights(data: bytes, outputs: int, kept: Sequence[int]) -> bytes:
    """Return a safetensors file of DenseNet-121 with those of its outputs that mean something.

    Args:
        data: a safetensors file with at least the network's tensors, float32.
        outputs: how many outputs the network in `data` has.
        kept: which of them stay, in this order.

    Raises ModelUnavailable when a tensor is missing, has another shape, or is not finite.
    """
    try:
        found = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelUnavailable("the weights are no safetensors file") from error
    with torch.device("meta"):
        wanted = DenseNet121(outputs).state_dict()
    tensors = {}
    for name, like in wanted.items():
        if name.endswith(_COUNTER):
            continue
        tensor = found.get(name)
        if tensor is None or tensor.shape != like.shape or tensor.dtype != like.dtype:
            raise ModelUnavailable(f"the weights are not those of DenseNet-121: {name}")
        if not bool(tensor.isfinite().all()):
            raise ModelUnavailable(f"the weights hold values that are no numbers: {name}")
        tensors[name] = tensor
    rows = torch.tensor(kept)
    for name in ("classifier.weight", "classifier.bias"):
        tensors[name] = tensors[name][rows].contiguous()
    return save(tensors)


def densenet121_answers(
    weights: bytes,
    golden: bytes,
    claims: Sequence[LabelClaim],
    how: Preprocessing,
    wanted: InputContract,
) -> tuple[float, ...]:
    """Return what a pack answers to its golden input, each in [0, 1], computed the plain way.

    By the network as it is drawn, in double precision, and not by the fused form that will serve:
    when a pack proves itself, two ways of computing have agreed.
    """
    network = DenseNet121(len(claims))
    network.load_state_dict(load(weights))
    network.double().eval()
    batch, _ = frame(read_pgm(golden, "0" * 64), how, wanted)
    with one_thread(), torch.inference_mode():
        logits: list[float] = network(batch.double()).logits[0].tolist()
    return tuple(score(claim, logit) for claim, logit in zip(claims, logits, strict=True))
