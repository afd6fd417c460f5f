"""Is this a frontal chest radiograph, upright and of the right polarity? A tiny network and rules.

The network sees 64 x 64 pixels and answers three questions at once; rules on size and spread come
before it. What it was trained on and how well it does is in docs/adr/0008-gate.md.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field, FiniteFloat, ValidationError

from chalicelib.domain import Quality, Radiograph, Value
from chalicelib.errors import ModelUnavailable
from chalicelib.inference.gate_network import SIDE, GateNet, pool, sample, standardise
from chalicelib.inference.manifest import GATE_CONFIG, GATE_WEIGHTS, MAX_GATE_BYTES
from chalicelib.inference.packs import active_pack, list_packs, read_file
from chalicelib.inference.plain_file import read_plain
from chalicelib.inference.tensors import parse_safetensors
from chalicelib.inference.threads import one_thread

if TYPE_CHECKING:
    from pathlib import Path

    from chalicelib.inference.packs import Pack

CONFIG, WEIGHTS = GATE_CONFIG, GATE_WEIGHTS


class GateConfig(Value):
    """What stands in `gate.json` beside the weights.

    `threshold`: the least score that is accepted. `min_side`: pixels. `min_spread`: what lies
    between the 1st and the 99th percentile of the 64 x 64 cells, as a share of the range, of an
    image that is not blank. `max_aspect`: long side over short side.
    """

    format: int = Field(ge=1, le=1)
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    threshold: FiniteFloat = Field(gt=0, lt=1)
    min_side: int = Field(ge=1)
    min_spread: FiniteFloat = Field(ge=0, lt=1)
    max_aspect: FiniteFloat = Field(ge=1)


class ChestGate:
    """The port `Gate`. Thread-safe; one forward pass of about a millisecond an image."""

    def __init__(self, network: GateNet, config: GateConfig) -> None:
        self._network = network.folded()
        self._config = config

    @classmethod
    def load(cls, folder: Path) -> ChestGate:
        """Load the gate from a folder that holds `gate.json`, or else from a folder of packs.

        Raises ModelUnavailable when there is none, or when a file is not what it should be.
        """
        if (folder / CONFIG).is_file():
            config, weights = (
                read_plain(folder, name, most) for name, most in MAX_GATE_BYTES.items()
            )
            return cls.of_files(config, weights)
        gate = cls.of(active_pack(folder), folder)
        if gate is None:
            raise ModelUnavailable("no installed model brings a gate")
        return gate

    @classmethod
    def of(cls, pack: Pack, model_dir: Path) -> ChestGate | None:
        """Load the gate that goes with a pack: its own, or else one of another in `model_dir`.

        Every gate answers the same question, so the first that loads will do; None when no pack
        brings one. Raises ModelUnavailable when there are some and none of them loads.
        """
        if pack.manifest.brings_gate:
            return cls.of_pack(pack)
        refused = None
        for lender in list_packs(model_dir):
            if lender.manifest.brings_gate:
                try:
                    return cls.of_pack(lender)
                except ModelUnavailable as error:
                    refused = error
        if refused is not None:
            raise refused
        return None

    @classmethod
    def of_pack(cls, pack: Pack) -> ChestGate:
        """Load the gate that a pack brings, its files checked. Raises ModelUnavailable."""
        return cls.of_files(read_file(pack, CONFIG), read_file(pack, WEIGHTS))

    @classmethod
    def of_files(cls, config: bytes, weights: bytes) -> ChestGate:
        """Build the gate from the bytes of its two files. Raises ModelUnavailable."""
        try:
            checked = GateConfig.model_validate_json(config)
        except ValidationError:
            checked = None
        if checked is None or hashlib.sha256(weights).hexdigest() != checked.weights_sha256:
            raise ModelUnavailable("the gate's files do not belong together")
        network = GateNet()
        try:
            tensors = parse_safetensors(weights, f"the gate's {WEIGHTS}")
            network.load_state_dict({name: value.float() for name, value in tensors.items()})
        except RuntimeError as error:
            raise ModelUnavailable("the gate's weights are not those of its network") from error
        with one_thread(), torch.inference_mode():
            gate = cls(network, checked)
            gate.prove()
        return gate

    def prove(self) -> None:
        """Compute once. Raises ModelUnavailable when no numbers go in or none come out."""
        # Looked at as they are used: a norm of negative variance gets its NaN when it is folded.
        if not all(bool(value.isfinite().all()) for value in self._network.state_dict().values()):
            raise ModelUnavailable("the gate's weights hold values that are no numbers")
        ramp = torch.linspace(0, 1, SIDE * SIDE).view(1, 1, SIDE, SIDE)
        if not all(bool(logits.isfinite().all()) for logits in self._network(standardise(ramp))):
            raise ModelUnavailable("the gate's answer is not a number")

    def judge(self, radiograph: Radiograph) -> Quality:
        """Tell whether the image is an upright frontal chest radiograph, and if not, why not.

        `score` is the product of three probabilities: that it is a chest radiograph, that it is
        upright, that bone is bright. Reasons: `too_small`, `blank`, `not_a_radiograph`,
        `not_a_chest`, `inverted`, `lateral_or_rotated`; several may hold. Raises ModelUnavailable
        when the network's answer is not a number.
        """
        info, config = radiograph.info, self._config
        if min(info.width, info.height) < config.min_side:
            return _refused("too_small")
        if max(info.width, info.height) > config.max_aspect * min(info.width, info.height):
            return _refused("not_a_chest")
        with torch.inference_mode(), one_thread():
            cells = pool(torch.from_numpy(sample(radiograph))[None, None])
            low, high = np.percentile(cells.numpy(), (1, 99))
            if high - low < config.min_spread:
                return _refused("blank")
            answer = self._network(standardise(cells))
            kind = answer.kind.softmax(1)[0].tolist()
            upright, polarity = torch.sigmoid(torch.cat([answer.upright, answer.polarity])).tolist()
        score = kind[0] * upright * polarity
        if not math.isfinite(score):  # finite weights may still be too large to compute with
            raise ModelUnavailable("the gate's answer is not a number")
        if score >= config.threshold:
            return Quality(accepted=True, score=score)
        return Quality(accepted=False, score=score, reasons=_reasons(kind, upright, polarity))


def _reasons(kind: list[float], upright: float, polarity: float) -> tuple[str, ...]:
    """Name every question that was answered with no, or the least certain one when none was."""
    stranger = "not_a_chest" if kind[1] >= kind[2] else "not_a_radiograph"
    if kind[0] < 0.5:  # noqa: PLR2004 - the other two questions make sense for chests only
        return (stranger,)
    doubts = sorted([(polarity, "inverted"), (upright, "lateral_or_rotated"), (kind[0], stranger)])
    denied = tuple(word for chance, word in doubts if chance < 0.5)  # noqa: PLR2004
    return denied or (doubts[0][1],)


def _refused(reason: str) -> Quality:
    return Quality(accepted=False, score=0.0, reasons=(reason,))
