"""How long DenseNet-121 takes with heatmaps: plain eager PyTorch, ours, and ONNX Runtime.

`python -m benchmarks.densenet` prints a table, or with `--json` one document. All run the same
float32 weights on the same input with the same number of threads, and are timed in turns, so that
a busy machine slows all alike. On a busy machine the best times say more than the medians: there a
median is that of waiting for a core. ONNX Runtime is left out, with a word on stderr, where
`onnx` and `onnxruntime` are not installed.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.predict import in_turns
from chalicelib.inference.densenet import DenseNet121, FusedDenseNet121

if TYPE_CHECKING:
    from collections.abc import Callable

LABELS = 18
SIDE = 224


def network() -> DenseNet121:
    """Return the network with random weights whose batch norms fit its own activations."""
    torch.manual_seed(0)
    made = DenseNet121(LABELS)
    norms = [module for module in made.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, 0, 0.3)
    with torch.no_grad():
        made.train()
        made(torch.randn(4, 1, SIDE, SIDE) * 500)
    made.eval().requires_grad_(requires_grad=False)
    return made


def onnx_runtime(plain: DenseNet121, threads: int) -> Callable[[torch.Tensor], list[Any]] | None:
    """Return the network in ONNX Runtime, logits and maps, or None where it is not installed."""
    if not (find_spec("onnx") and find_spec("onnxruntime")):
        sys.stderr.write("onnx and onnxruntime are not installed: left out\n")
        return None
    import onnxruntime  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "densenet.onnx"
        torch.onnx.export(
            plain, (torch.zeros(1, 1, SIDE, SIDE),), path, dynamo=False, input_names=["x"]
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    return lambda batch: list(session.run(None, {"x": batch.numpy()}))


def main() -> None:
    """Time the ways and print their ratios first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    # In one process with ONNX Runtime plain eager takes nearly twice its time.
    parser.add_argument("--alone", action="store_true", help="leave ONNX Runtime out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    plain = network()
    fused = FusedDenseNet121(plain)
    batch = torch.randn(1, 1, SIDE, SIDE) * 500
    session = None if options.alone else onnx_runtime(plain, options.threads)

    def inferred(call: Callable[[torch.Tensor], Any]) -> Callable[[], Any]:
        def once() -> Any:  # noqa: ANN401 - the ways answer differently
            with torch.inference_mode():
                return call(batch)

        return once

    ways: dict[str, Callable[[], Any]] = {"eager": inferred(plain), "ours": inferred(fused)}
    if session is not None:
        ways["onnxruntime"] = inferred(session)
    times = dict(zip(ways, in_turns(options.rounds, *ways.values()), strict=True))
    best = {name: min(own) for name, own in times.items()}
    median = {name: statistics.median(own) for name, own in times.items()}
    wanted, ours = ways["eager"](), ways["ours"]()
    document = {
        "ratios_of_best": {n: round(best["ours"] / best[n], 3) for n in ways if n != "ours"},
        "ratios_of_median": {n: round(median["ours"] / median[n], 3) for n in ways if n != "ours"},
        "best_ms": {name: round(value, 1) for name, value in best.items()},
        "median_ms": {name: round(value, 1) for name, value in median.items()},
        "largest_difference_to_eager": {
            "logits": float((ours.logits - wanted.logits).abs().max()),
            "maps": float((ours.cams - wanted.cams).abs().max()),
        },
        "threads": options.threads,
        "rounds": options.rounds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    if options.json:
        json.dump(document, sys.stdout, indent=2)
        print()
        return
    print(f"{'':14}{'ours to it':>12}{'best ms':>10}{'median ms':>12}")
    for name in ways:
        ratio = best["ours"] / best[name]
        print(f"{name:14}{ratio:12.2f}{best[name]:10.1f}{median[name]:12.1f}")


if __name__ == "__main__":
    main()
