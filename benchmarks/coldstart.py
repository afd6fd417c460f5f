"""How long a fresh process takes to its first findings, and what that costs on a cold mount.

`python -m benchmarks.coldstart` prints one JSON document. `first`: fresh processes that take turns,
packages as installed here, caches warm; from bytes of a PNG to findings, against `import torch`
alone. `cold`: the tree of packages as it lies on the mount, in a process that has the Lambda zip's
packages and nothing else; before each run the caches of the file system are dropped, and reads are
held to the pace of a network file system. That needs root and the old control groups; without them
`cold` is null.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import shutil
import statistics
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from admin_cli.deploying.lambda_packages import lambda_packages
from admin_cli.runtime.build import build
from admin_cli.runtime.wheels import Wheelhouse, native
from chalicelib.runtime.sync import Sync
from chalicelib.runtime.trees import FILES, Trees
from chalicelib.runtime.trial import Rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".local" / "bench"
CACHES = Path("/proc/sys/vm/drop_caches")
GROUP = Path("/sys/fs/cgroup/blkio/radgate-bench")
# About what elastic EFS gives one client: half a millisecond a request, 200 MB a second.
REQUESTS, BYTES = 2_000, 200_000_000
MEASURED = """
import json, resource, time
own = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"wall": time.perf_counter() - began, "cpu": time.process_time(),
                  "peak_mb": own.ru_maxrss / 1024, "reads": own.ru_inblock}))
"""
BEGIN = "import time; began = time.perf_counter()\n"
TORCH = BEGIN + "import torch\n" + MEASURED
FIRST = """
import sys
from pathlib import Path
from chalicelib.inference.imaging import ImageDecoder
from chalicelib.inference.predictor import Predictor
predictor = Predictor(Path(sys.argv[1]), threads=2)
radiograph = ImageDecoder(gate=predictor).decode(Path(sys.argv[2]).read_bytes())
assert predictor.judge(radiograph).accepted
assert predictor.predict(radiograph).findings
"""
WITH_TREE = """
import sys
from pathlib import Path
from chalicelib.runtime.loading import use_tree
how = sys.argv[4]
use_tree(Path(sys.argv[3]), snapshot=how.startswith("snapshot"), ahead=how.endswith("ahead"))
"""
WAYS = ("plain files", "files and bytecode", "snapshot", "snapshot, read ahead")


def image(home: Path) -> Path:
    """Write the golden radiograph of the shipped pack as a PNG; return its path."""
    from PIL import Image  # noqa: PLC0415 - only here

    path = home / "golden.png"
    home.mkdir(parents=True, exist_ok=True)
    with Image.open(ROOT / "models" / "cardionet-1" / "golden.pgm") as golden:
        golden.save(path)
    return path


def run(
    program: str, *arguments: object, path: list[Path], options: tuple[str, ...] = ()
) -> dict[str, float]:
    """Run a program in a fresh process, by the group's pace when there is one; return its JSON."""
    command = [sys.executable, *options, "-c", program, *map(str, arguments)]
    if GROUP.is_dir():
        command = ["/bin/sh", "-c", f'echo $$ > {GROUP}/cgroup.procs; exec "$@"', "sh", *command]
    done = subprocess.run(  # noqa: S603 - our own program
        command,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        check=True,
        text=True,
    )
    return dict(json.loads(done.stdout))


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of every figure."""
    return {name: round(statistics.median(r[name] for r in runs), 3) for name in runs[0]}


def first(rounds: int, png: Path) -> dict[str, Any]:
    """Compare the first findings with `import torch`."""
    torch, ours = [], []
    for _ in range(rounds):
        torch.append(run(TORCH, path=[ROOT]))
        ours.append(run(BEGIN + FIRST + MEASURED, ROOT / "models", png, path=[ROOT]))
    one, two = medians(torch), medians(ours)
    return {
        "import_torch": one,
        "first_findings": two,
        "ratio_cpu": round(two["cpu"] / one["cpu"], 3),
        "ratio_wall": round(two["wall"] / one["wall"], 3),
    }


class Folder:
    """The source of a tree that was built on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def manifest(self, tree: str) -> bytes:
        """Return the manifest."""
        return (self._folder / tree / "manifest.json").read_bytes()

    def part(self, tree: str, number: int) -> bytes:
        """Return a part."""
        return (self._folder / tree / f"part-{number + 1:04d}.gz").read_bytes()


def mounted(tell: Callable[[str], None]) -> Path:
    """Build the tree and unpack it; return its folder. Both are found again by the next run."""
    target = native()
    house = Wheelhouse(target, ROOT / ".local" / "cache" / "wheels", [], tell)
    closure = house.fetch(ROOT / "requirements-efs.txt", ROOT / "constraints.txt")
    made = build(closure, target, HOME / "runtime")
    trees = Trees(HOME / "mount")
    trial = Rehearsal(
        ["chalicelib.inference.rehearsal:rehearse"],
        lambda: 600.0,
        (ROOT, lambda_packages("local")),
    )
    sync = Sync(trees, Folder(HOME / "runtime"), trial, lambda: 900.0)
    answer = sync.handle({"action": "sync", "tree": made.tree})
    if answer["state"] != "done":
        raise SystemExit(answer["detail"])
    return trees.folder(made.tree)


def drop_caches() -> None:
    """Forget every file that was read."""
    os.sync()
    CACHES.write_text("3\n", encoding="ascii")


def hold() -> str:
    """Hold the reads of processes in the group to the pace; return the device."""
    number = ROOT.stat().st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    GROUP.mkdir(exist_ok=True)
    for name, most in (("read_iops", REQUESTS), ("read_bps", BYTES)):
        (GROUP / f"blkio.throttle.{name}_device").write_text(f"{device} {most}\n", encoding="ascii")
    return device


def cold(rounds: int, png: Path, folder: Path) -> dict[str, Any]:
    """Time the first findings from a cold mount, in four ways that take turns."""
    packages = lambda_packages("local")
    program = BEGIN + WITH_TREE + FIRST + MEASURED
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    files = folder / FILES

    def measure(way: str) -> None:
        drop_caches()
        runs[way].append(
            run(
                program,
                ROOT / "models",
                png,
                folder,
                way,
                path=[ROOT, packages],
                options=("-S", "-B"),
            )
        )

    for _ in range(rounds):
        measure(WAYS[0])
    # What a snapshot holds is not looked for in its file, so bytecode changes nothing for it.
    compileall.compile_dir(files, quiet=2, workers=0)
    try:
        for _ in range(rounds):
            for way in WAYS[1:]:
                measure(way)
    finally:
        for cache in list(files.rglob("__pycache__")):
            shutil.rmtree(cache)
    return {way: medians(found) for way, found in runs.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cold-rounds", type=int, default=3)
    options = parser.parse_args()
    png = image(HOME)
    document: dict[str, Any] = {"first": first(options.rounds, png), "cold": None}
    if os.access(CACHES, os.W_OK) and GROUP.parent.is_dir():
        folder = mounted(lambda text: print(text, file=sys.stderr))
        try:
            hold()
            document["cold"] = {
                "requests_a_second": REQUESTS,
                "bytes_a_second": BYTES,
                **cold(options.cold_rounds, png, folder),
            }
        finally:
            with suppress(OSError):
                GROUP.rmdir()
    json.dump(document, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
