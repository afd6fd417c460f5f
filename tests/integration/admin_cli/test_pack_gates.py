"""A pack's gate on its way in: refused, with its reason, where it is too large, half or broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from admin_cli.__main__ import run
from chalicelib.inference.gate import CONFIG, WEIGHTS
from chalicelib.inference.manifest import MAX_GATE_BYTES
from chalicelib.inference.packs import activate
from tests.unit.inference.breaking import reweigh, vouch
from tests.unit.inference.packmaking import install

if TYPE_CHECKING:
    from collections.abc import Callable

GATE = Path(__file__).parents[3] / "models" / "cardionet-1"


def _with_gate(folder: Path, name: str) -> Path:
    pack = install(folder, name)
    config, weights = ((GATE / file).read_bytes() for file in (CONFIG, WEIGHTS))
    vouch(pack, gate__json=config, gate__safetensors=weights)
    return pack


def _large_config(pack: Path) -> None:
    vouch(pack, gate__json=(pack / CONFIG).read_bytes() + b" " * MAX_GATE_BYTES[CONFIG])


def _large_weights(pack: Path) -> None:
    def grow(tensors: dict[str, torch.Tensor]) -> None:
        tensors["more"] = torch.zeros(MAX_GATE_BYTES[WEIGHTS] // 4)

    reweigh(pack, grow, WEIGHTS)


def _half(pack: Path) -> None:
    claims = json.loads((pack / "manifest.json").read_text())
    del claims["files"][CONFIG]
    (pack / "manifest.json").write_text(json.dumps(claims))
    (pack / CONFIG).unlink()


def _unlike(pack: Path) -> None:
    reweigh(pack, lambda tensors: tensors.pop("answer.bias"), WEIGHTS)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (_large_config, "gate.json is larger than it may be: 65536 bytes"),
        (_large_weights, "gate.safetensors is larger than it may be: 524288 bytes"),
        (_half, "both or none"),
        (_unlike, "the gate's weights are not those of its network"),
    ],
)
def test_a_pack_with_a_bad_gate_is_refused_by_every_command(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[Path], Any],
    reason: str,
) -> None:
    monkeypatch.setenv("RADGATE_HOME", str(tmp_path))  # where no local AWS runs
    models = tmp_path / "models"
    bad = _with_gate(tmp_path / "outside", "beta")
    harm(bad)

    _with_gate(models, "alpha")
    activate(models, "alpha", "1")

    def call(*words: str) -> str:
        capsys.readouterr()
        assert run(["--output", "json", "models", *words, "--model-dir", str(models)]) == 1
        return "".join(capsys.readouterr())

    assert reason in call("install", str(bad))
    assert {entry.name for entry in models.iterdir() if entry.is_dir()} == {"alpha-1"}
    bad.rename(models / "beta-1")  # as somebody without our commands would
    assert reason in call("verify", "beta@1")
    assert reason in call("activate", "beta@1")
    assert json.loads((models / "active.json").read_text())["name"] == "alpha"
