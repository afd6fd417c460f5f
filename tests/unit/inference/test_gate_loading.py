"""How a gate is loaded: from where, and what is refused of it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from chalicelib.errors import ModelUnavailable
from chalicelib.inference.gate import CONFIG, WEIGHTS, ChestGate
from chalicelib.inference.manifest import MAX_GATE_BYTES
from chalicelib.inference.model import prove_pack
from chalicelib.inference.packs import activate, load_manifest, verify_pack
from chalicelib.inference.predictor import Predictor
from tests.unit.inference.breaking import reweigh, vouch
from tests.unit.inference.chests import chest, radiograph
from tests.unit.inference.packmaking import install
from training.gate import enter

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

SHIPPED = Path(__file__).parents[3] / "models" / "cardionet-1"
GATE = ChestGate.load(SHIPPED)


def copy(folder: Path, config: bytes | None = None, weights: bytes | None = None) -> Path:
    (folder / CONFIG).write_bytes(config or (SHIPPED / CONFIG).read_bytes())
    (folder / WEIGHTS).write_bytes(weights or (SHIPPED / WEIGHTS).read_bytes())
    return folder


def pack_with_gate(model_dir: Path, name: str) -> Path:
    folder = copy(install(model_dir, name))
    enter(folder)
    return folder


def test_it_is_loaded_from_any_folder_and_stays_small(tmp_path: Path) -> None:
    image = radiograph(chest(), 65535)

    assert ChestGate.load(copy(tmp_path)).judge(image) == GATE.judge(image)
    assert (SHIPPED / WEIGHTS).stat().st_size < 500_000


def test_the_active_pack_brings_it_and_vouches_for_it(tmp_path: Path) -> None:
    image = radiograph(chest(), 65535)
    pack = pack_with_gate(tmp_path, "alpha")

    verify_pack(pack)
    assert ChestGate.load(tmp_path).judge(image) == GATE.judge(image)

    (pack / CONFIG).write_bytes((pack / CONFIG).read_bytes().replace(b"0.5", b"0.1"))
    with pytest.raises(ModelUnavailable, match="not the file of the manifest"):
        ChestGate.load(tmp_path)


def test_a_pack_proves_its_gate_too(tmp_path: Path) -> None:
    pack = pack_with_gate(tmp_path, "alpha")
    prove_pack(pack)

    config = json.loads((pack / CONFIG).read_bytes())
    (pack / CONFIG).write_text(json.dumps({**config, "weights_sha256": "0" * 64}))
    enter(pack)
    verify_pack(pack)  # each file is the one of the manifest
    with pytest.raises(ModelUnavailable, match="belong together"):
        prove_pack(pack)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    tensors = load_tensors((SHIPPED / WEIGHTS).read_bytes())
    tensors["answer.bias"][0] = float("nan")
    weights = save_tensors(tensors)
    config = json.loads((SHIPPED / CONFIG).read_bytes())
    config["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    with pytest.raises(ModelUnavailable, match="no numbers"):
        ChestGate.load(copy(tmp_path, json.dumps(config).encode(), weights))


def test_a_pack_without_a_gate_borrows_another_ones(tmp_path: Path) -> None:
    install(tmp_path, "alpha")
    with pytest.raises(ModelUnavailable, match="no installed model brings a gate"):
        ChestGate.load(tmp_path)

    pack_with_gate(tmp_path, "beta")
    activate(tmp_path, "alpha", "1")

    assert ChestGate.load(tmp_path).judge(radiograph(chest(), 65535)).accepted


def test_the_gate_follows_the_active_pack_and_outlives_a_bad_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    image = radiograph(chest(), 65535)
    pack_with_gate(tmp_path, "alpha")
    strict = pack_with_gate(tmp_path, "beta")
    config = json.loads((strict / CONFIG).read_bytes())
    (strict / CONFIG).write_text(json.dumps({**config, "min_side": 60_000}))
    enter(strict)
    activate(tmp_path, "alpha", "1")
    gate = Predictor(tmp_path, refresh=30, clock=lambda: now[0])

    assert gate.judge(image).accepted
    activate(tmp_path, "beta", "1")
    assert gate.judge(image).accepted  # not yet looked again
    now[0] = 31
    assert gate.judge(image).reasons == ("too_small",)
    activate(tmp_path, "alpha", "1")
    (tmp_path / "alpha-1" / WEIGHTS).write_bytes(b"broken")
    now[0] = 62
    assert gate.judge(image).reasons == ("too_small",)
    assert "is refused" in caplog.text


def test_without_any_pack_there_is_no_gate(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable):
        Predictor(tmp_path).judge(radiograph(chest(), 65535))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    weights = bytearray((SHIPPED / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    config = json.loads((SHIPPED / CONFIG).read_bytes())
    with pytest.raises(ModelUnavailable, match="belong together"):
        ChestGate.load(copy(tmp_path, weights=bytes(weights)))

    for wrong in (b"{}", b"not json", json.dumps({**config, "threshold": 2}).encode()):
        with pytest.raises(ModelUnavailable, match="belong together"):
            ChestGate.load(copy(tmp_path, config=wrong))

    for content in (b"not safetensors at all", bytes(weights[:100])):
        renamed = {**config, "weights_sha256": hashlib.sha256(content).hexdigest()}
        with pytest.raises(ModelUnavailable, match="no safetensors file"):
            ChestGate.load(copy(tmp_path, json.dumps(renamed).encode(), content))

    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(ModelUnavailable, match="missing"):
        ChestGate.load(tmp_path)


def test_a_folder_without_packs_has_no_gate(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable):
        ChestGate.load(tmp_path)


@pytest.mark.parametrize("name", MAX_GATE_BYTES)
def test_a_gate_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path, name: str) -> None:
    pack = pack_with_gate(tmp_path, "alpha")
    body = (pack / name).read_bytes()
    vouch(pack, **{name.replace(".", "__"): body + b" " * (MAX_GATE_BYTES[name] - len(body) + 1)})

    for refuse in (load_manifest, verify_pack, prove_pack):
        with pytest.raises(ModelUnavailable, match=f"{name} is larger than it may be"):
            refuse(pack)
    with pytest.raises(ModelUnavailable, match=f"{name} is larger than it may be"):
        activate(tmp_path, "alpha", "1")
    with pytest.raises(ModelUnavailable, match=f"{name} is larger than it may be"):
        ChestGate.load(pack)


def test_a_file_beside_no_pack_is_not_waited_for(tmp_path: Path) -> None:
    (copy(tmp_path) / WEIGHTS).unlink()
    os.mkfifo(tmp_path / WEIGHTS)
    with pytest.raises(ModelUnavailable, match="no plain file"):
        ChestGate.load(tmp_path)


@pytest.mark.parametrize("name", MAX_GATE_BYTES)
def test_half_a_gate_is_refused(tmp_path: Path, name: str) -> None:
    pack = pack_with_gate(tmp_path, "alpha")
    claims = json.loads((pack / "manifest.json").read_text())
    del claims["files"][name]
    (pack / "manifest.json").write_text(json.dumps(claims))
    with pytest.raises(ModelUnavailable, match="both or none"):
        load_manifest(pack)


def _negative_variance(tensors: dict[str, torch.Tensor]) -> None:
    tensors["layers.1.running_var"][0] = -1


def _too_large(tensors: dict[str, torch.Tensor]) -> None:
    tensors["answer.weight"][:] = 3e38


@pytest.mark.parametrize(
    ("change", "reason"),
    [(_negative_variance, "hold values that are no numbers"), (_too_large, "is not a number")],
)
def test_a_gate_that_cannot_compute_is_refused_when_it_is_loaded(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], None], reason: str
) -> None:
    pack = pack_with_gate(tmp_path, "alpha")
    verify_pack(pack)
    reweigh(pack, change, WEIGHTS)
    # The test pack's golden input is smaller than what the gate's network is ever asked about.
    with pytest.raises(ModelUnavailable, match=reason):
        Predictor(tmp_path).facts()


def test_a_lender_that_is_broken_is_passed_over(tmp_path: Path) -> None:
    install(tmp_path, "gamma")
    broken = pack_with_gate(tmp_path, "alpha")
    pack_with_gate(tmp_path, "beta")
    activate(tmp_path, "gamma", "1")
    (broken / WEIGHTS).write_bytes(b"broken")
    image = radiograph(chest(), 65535)

    assert Predictor(tmp_path).judge(image) == GATE.judge(image)
    (tmp_path / "beta-1" / WEIGHTS).write_bytes(b"broken")
    with pytest.raises(ModelUnavailable, match="not the file of the manifest"):
        Predictor(tmp_path).judge(image)
