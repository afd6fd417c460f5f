"""From a logit to the number that a finding reports, on the scale that the manifest claims."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chalicelib.inference.manifest import LabelClaim


def score(claim: LabelClaim, logit: float) -> float:
    """Return a finding's number in [0, 1] for a finite logit; at the operating point: `threshold`.

    Without a pivot it is the calibrated probability. With the pivot t it is a position on a
    decision scale, p / 2t below t and 1 - (1 - p) / 2(1 - t) above, as torchxrayvision has it.
    """
    p = _sigmoid(claim.slope * logit + claim.intercept)
    t = claim.pivot
    if t is None:
        return p
    return p / (2 * t) if p < t else 1 - (1 - p) / (2 * (1 - t))


def _sigmoid(x: float) -> float:
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    small = math.exp(max(x, -700.0))  # exp of less is not a normal number
    return small / (1 + small)
