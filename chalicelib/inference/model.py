"""A pack brought to life: verified files, a network, and the way from its logits to findings."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from chalicelib.domain import Finding, Heatmap, Prediction
from chalicelib.errors import ModelUnavailable
from chalicelib.inference.framing import Box, frame, read_pgm
from chalicelib.inference.gate import ChestGate
from chalicelib.inference.manifest import WEIGHTS
from chalicelib.inference.networks import build
from chalicelib.inference.packs import Pack, read_file, verify_pack
from chalicelib.inference.scale import score
from chalicelib.inference.tensors import parse_safetensors
from chalicelib.inference.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from chalicelib.domain import Radiograph
    from chalicelib.inference.networks import Network

_PROOF_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Model:
    """A pack whose files were verified and whose network is in memory."""

    pack: Pack
    network: Network
    golden: Radiograph

    def answer(self, radiograph: Radiograph) -> Prediction:
        """Return a finding for every label and a heatmap for every positive one.

        A negative finding has no heatmap: drawn relative to its own maximum, it would show a
        place where there is nothing.
        """
        [prediction] = self.answer_many((radiograph,))
        return prediction

    def answer_many(self, radiographs: Sequence[Radiograph]) -> tuple[Prediction, ...]:
        """Return `answer` of each, in one forward pass; up to rounding, they are the same."""
        if not radiographs:
            return ()
        manifest = self.pack.manifest
        framed = [frame(one, manifest.preprocessing, manifest.input) for one in radiographs]
        batch = torch.cat([image for image, _ in framed])
        with torch.inference_mode():
            output = self.network(batch.contiguous(memory_format=torch.channels_last))
        return tuple(
            self._prediction(logits, cams, box)
            for logits, cams, (_, box) in zip(output.logits, output.cams, framed, strict=True)
        )

    def _prediction(self, logits: Tensor, cams: Tensor, box: Box) -> Prediction:
        """Read one image's answer: logits (L,), cams (L, h, w)."""
        findings = []
        heatmaps = []
        values: list[float] = logits.tolist()
        for claim, logit, cam in zip(self.pack.manifest.labels, values, cams, strict=True):
            if not math.isfinite(logit):
                raise ModelUnavailable("the network's answer is not a number")
            probability = score(claim, logit)
            positive = probability >= claim.threshold
            findings.append(
                Finding(
                    label=claim.name,
                    probability=probability,
                    threshold=claim.threshold,
                    positive=positive,
                )
            )
            if positive:
                heatmaps.append(_heatmap(claim.name, cam, box))
        return Prediction(self.pack.facts(), tuple(findings), tuple(heatmaps))

    def prove(self) -> None:
        """Answer the golden input. Raises ModelUnavailable when the answer is off."""
        golden = self.pack.manifest.golden
        with one_thread():
            answers = [f.probability for f in self.answer(self.golden).findings]
        for claim, got, wanted in zip(
            self.pack.manifest.labels, answers, golden.probabilities, strict=True
        ):
            if abs(got - wanted) > golden.tolerance:
                raise ModelUnavailable(
                    f"pack {self.pack.path.name}: golden input: {claim.name} is {got:.4f}, "
                    f"not {wanted:.4f}"
                )


def _heatmap(label: str, cam: Tensor, box: Box) -> Heatmap:
    """Scale what speaks for the label, float32 (h, w), to bytes; what speaks against it is 0."""
    support = cam.clamp_min(0)
    peak = support.max().clamp_min(torch.finfo(torch.float32).tiny)
    values = (support / peak * 255).round().to(torch.uint8).contiguous()
    height, width = values.shape
    return Heatmap(label, width, height, values.numpy().tobytes(), box)


def load(pack: Pack) -> Model:
    """Bring a pack to life. Raises ModelUnavailable when a file is not what was promised."""
    manifest = pack.manifest
    weights = read_file(pack, WEIGHTS)
    golden = read_file(pack, manifest.golden.input)
    tensors = parse_safetensors(weights, f"pack {pack.path.name}: {WEIGHTS}")
    with one_thread():
        network = build(manifest.architecture, len(manifest.labels), tensors)
    return Model(pack, network, read_pgm(golden, manifest.files[manifest.golden.input].sha256))


def prove_pack(path: Path) -> None:
    """Verify the pack in folder `path`, have it answer its golden input, and load its gate.

    In a process of its own: a pack that takes the process with it must not take ours. Raises
    ModelUnavailable with the reason.
    """
    command = [sys.executable, "-m", "chalicelib.inference.model", str(path)]
    home = Path(__file__).resolve().parents[2]
    try:
        done = subprocess.run(  # noqa: S603 - our own module, no shell
            command, cwd=home, capture_output=True, text=True, timeout=_PROOF_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ModelUnavailable(f"pack {path.name}: no golden answer in time") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["the proof ended without a word"])[-1]
        raise ModelUnavailable(last)


def _main(path: Path) -> int:
    # Nobody waits for this answer alone; on a busy machine threads wait for each other for seconds.
    torch.set_num_threads(1)
    try:
        pack = verify_pack(path)
        model = load(pack)
        model.prove()
        # Without a gate that loads, no new process could serve the pack.
        if pack.manifest.brings_gate:
            ChestGate.of_pack(pack).judge(model.golden)
    except ModelUnavailable as error:
        print(error.detail, file=sys.stderr)  # noqa: T201 - read by prove_pack
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
