"""Is this a frontal chest radiograph, upright and of the right polarity? A tiny network and rules.

The network sees 64 x 64 pixels and answers three questions at once; rules on size and spread come
before it. What it was trained on and how well it does is in docs/adr/0008-gate.md.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field, FiniteFloat, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

from chalicelib.domain import Quality, Radiograph, Value
from chalicelib.errors import ModelUnavailable
from chalicelib.inference.gate_network import GateNet, pool, sample, standardise
from chalicelib.inference.packs import active_pack, list_packs, read_file
from chalicelib.inference.threads import one_thread

if TYPE_CHECKING:
    from pathlib import Path

    from chalicelib.inference.packs import Pack

CONFIG, WEIGHTS = "gate.json", "gate.safetensors"
_MAX_CONFIG_BYTES = 64 * 1024
_MAX_WEIGHT_BYTES = 512 * 1024


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

        Of packs, the active one brings the gate; where it brings none, the first that does:
        every gate answers the same question. Raises ModelUnavailable when there is none, or
        when a file is not what its SHA-256 promises.
        """
        if (folder / CONFIG).is_file():
            return cls.of_files(
                _read(folder / CONFIG, _MAX_CONFIG_BYTES),
                _read(folder / WEIGHTS, _MAX_WEIGHT_BYTES),
            )
        gate = cls.of_active(folder)
        if gate is None:
            raise ModelUnavailable("no installed model brings a gate")
        return gate

    @classmethod
    def of_active(cls, model_dir: Path) -> ChestGate | None:
        """Load the gate that goes with the active pack; None when no pack brings one.

        Raises ModelUnavailable when a file is not what its SHA-256 promises.
        """
        candidates = (active_pack(model_dir), *list_packs(model_dir))
        pack = next((p for p in candidates if brings_gate(p)), None)
        return None if pack is None else cls.of_pack(pack)

    @classmethod
    def of_pack(cls, pack: Pack) -> ChestGate:
        """Load the gate of one pack, its files checked. Raises ModelUnavailable."""
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
            network.load_state_dict({k: v.float() for k, v in load_tensors(weights).items()})
        except (SafetensorError, RuntimeError) as error:
            raise ModelUnavailable("the gate's weights are not those of its network") from error
        if not all(bool(value.isfinite().all()) for value in network.state_dict().values()):
            raise ModelUnavailable("the gate's weights hold values that are no numbers")
        with one_thread():
            return cls(network, checked)

    def judge(self, radiograph: Radiograph) -> Quality:
        """Tell whether the image is an upright frontal chest radiograph, and if not, why not.

        `score` is the product of three probabilities: that it is a chest radiograph, that it is
        upright, that bone is bright. Reasons: `too_small`, `blank`, `not_a_radiograph`,
        `not_a_chest`, `inverted`, `lateral_or_rotated`; several may hold.
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
        if score >= config.threshold:
            return Quality(accepted=True, score=score)
        return Quality(accepted=False, score=score, reasons=_reasons(kind, upright, polarity))


def brings_gate(pack: Pack) -> bool:
    """Tell whether a pack has the files of a gate of its own."""
    return {CONFIG, WEIGHTS} <= set(pack.manifest.files)


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


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError:
        data = b""
    if not 0 < len(data) <= limit:
        raise ModelUnavailable(f"the gate's {path.name} is missing or too large")
    return data
