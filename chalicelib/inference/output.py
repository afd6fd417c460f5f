"""What every network answers, whatever its architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Output(NamedTuple):
    """What a network answers for a batch of N images and L labels.

    logits: float32, (N, L), unbounded. cams: float32, (N, L, h, w), unbounded; the mean of a map
    plus the label's bias is its logit.
    """

    logits: Tensor
    cams: Tensor
