"""Train the gate, choose its threshold, test it, write it into the pack: `python -m training.gate`.

Chests are those of `train.npz`: the part that is fitted, and the part that is held out to choose
the threshold; `test.npz` and the packages in `gate_sources.TESTING` are looked at once, at the end.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import logging
import os
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch.nn import functional

from chalicelib.inference.gate import CONFIG, WEIGHTS, ChestGate, GateConfig
from chalicelib.inference.gate_network import GateNet
from training import gate_report
from training.data import read, split
from training.gate_examples import CHEST, Others, batch, others
from training.gate_sources import CHOOSING, TRAINING, brain, pictures
from training.gate_views import Views, drawn, joined, patient, stretched

SEED = 7
STEPS = 3000
SIZE = 48  # chests a batch, and as many others
BODIES = 600
RATE = 3e-3
FOLLOW = 0.01
# Of the chests that the threshold is chosen on, so many must pass in all their usual variants.
PASS = 0.995
LEAST, MOST = 0.05, 0.5

log = logging.getLogger("training")


def loss(
    network: GateNet,
    chests: np.ndarray,
    views: Views,
    strangers: Others,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Return the sum of the three questions' cross-entropies on a fresh batch."""
    b = batch(chests, views, strangers, SIZE, rng)
    answer = network(b.x.contiguous(memory_format=torch.channels_last))
    chest = b.kind == CHEST
    return (
        functional.cross_entropy(answer.kind, b.kind, label_smoothing=0.01)
        + functional.binary_cross_entropy_with_logits(answer.upright[chest], b.upright[chest])
        + functional.binary_cross_entropy_with_logits(answer.polarity[chest], b.polarity[chest])
    )


def fit(chests: np.ndarray, views: Views, strangers: Others, steps: int) -> GateNet:
    """Train from scratch; return the average of the last weights, which is steadier than they."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    # Channels last: a third faster on a CPU.
    network: GateNet = GateNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    begun, total = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        value = loss(network.train(), chests, views, strangers, rng)
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]  # torch ships it so
        optimiser.step()
        schedule.step()
        follow(average, network)
        total += value.item()
        if step % 100 == 0:
            log.info("step %d: loss %.4f, %.0f s", step, total / 100, time.monotonic() - begun)
            total = 0.0
    average.eval()
    return average


@torch.no_grad()
def follow(average: GateNet, network: GateNet) -> None:
    """Move the average a little towards the network, its running statistics included."""
    for old, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, FOLLOW)
        else:
            old.copy_(new)


def write(folder: Path, network: GateNet, threshold: float) -> ChestGate:
    """Write the two files, enter them in the pack's manifest if it has one, and load them."""
    weights = save(
        {
            name: value.contiguous(memory_format=torch.contiguous_format)
            for name, value in network.state_dict().items()
        }
    )
    config = GateConfig(
        format=1,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        threshold=round(threshold, 4),
        min_side=100,
        min_spread=0.04,
        max_aspect=2.0,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(weights)
    (folder / CONFIG).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    enter(folder)
    return ChestGate.of_files((folder / CONFIG).read_bytes(), weights)


def enter(folder: Path) -> None:
    """Name the gate's files, with length and SHA-256, in the manifest of the pack they lie in."""
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        log.warning("%s has no manifest yet: enter the gate later with --enter", folder)
        return
    claims = json.loads(manifest.read_text("utf-8"))
    for name in (CONFIG, WEIGHTS):
        data = (folder / name).read_bytes()
        facts = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        claims["files"][name] = facts
    manifest.write_text(json.dumps(claims, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def choose(network: GateNet, chests: np.ndarray) -> float:
    """Return the threshold that lets PASS of the held-out chests pass, within sane bounds."""
    open_gate = ChestGate(
        network,
        GateConfig(
            format=1,
            weights_sha256="0" * 64,
            threshold=1e-9,
            min_side=1,
            min_spread=0,
            max_aspect=9,
        ),
    )
    variants = gate_report.usual_variants(chests)
    scores = np.concatenate([gate_report.scores(open_gate, v) for v in variants.values()])
    for name, images in variants.items():
        low, middle = np.quantile(gate_report.scores(open_gate, images), [0.005, 0.5])
        log.info("held-out chests, %s: 0.5 %% score below %.3f, half below %.3f", name, low, middle)
    return float(np.clip(np.quantile(scores, 1 - PASS), LEAST, MOST))


def main() -> None:
    """Run the whole of it and print the confusion table."""
    parser = argparse.ArgumentParser(description=__doc__)
    data = os.environ.get("RADGATE_SHARED_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(data))
    parser.add_argument("--pack", type=Path, default=Path("models/cardionet-1"))
    parser.add_argument("--cache", type=Path, default=Path(".local/gate"), help="for wheels")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument(
        "--drawn-only", action="store_true", help="keep the patient's CT for testing alone"
    )
    parser.add_argument("--enter", action="store_true", help="only enter the files in the manifest")
    parser.add_argument("--report", action="store_true", help="only test the gate that is there")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    if options.drawn_only and options.pack.resolve() == Path("models/cardionet-1").resolve():
        parser.error("--drawn-only is for a --pack of its own: the shipped gate knows the CT")
    if options.enter:
        enter(options.pack)
        return
    if options.report:
        gate = ChestGate.load(options.pack)
    else:
        fitted, held = split(read(options.data / "cardiomegaly128" / "train.npz"))
        rng = np.random.default_rng(SEED)
        volume, chests = brain(options.cache), fitted.images
        strangers = others(pictures(TRAINING, options.cache), volume, chests, 400, rng)
        seen = drawn(BODIES, rng)
        if not options.drawn_only:
            seen = joined(seen, stretched(patient(options.cache), BODIES // 2, rng))
        network = fit(chests, seen, strangers, options.steps)
        threshold = choose(network, held.images)
        log.info("threshold %.4f", threshold)
        gate = write(options.pack, network, threshold)
        unseen = others(pictures(CHOOSING, options.cache), volume, held.images, 60, rng)
        print(gate_report.table(gate, gate_report.held_out(held.images, drawn(100, rng), unseen)))
    print(gate_report.table(gate, gate_report.final(options.data, options.cache)))


if __name__ == "__main__":
    main()
