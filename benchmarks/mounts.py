"""The tree of packages and the pack as they lie on EFS, and two slow ways to reach them.

`disk`: the caches of the file system dropped, reads held to a pace; needs root and the old control
groups. `network`: every request takes a round trip (see `distant`); needs `/dev/fuse`, libfuse 3
and mfusepy. Both show the folder at one place, so that what a snapshot says of places holds.
"""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from admin_cli.deploying.lambda_packages import lambda_packages
from admin_cli.runtime.cached import cached_tree
from admin_cli.runtime.wheels import native
from benchmarks.fresh import ROOT, run
from chalicelib.runtime.sync import Sync
from chalicelib.runtime.trees import FILES, Trees
from chalicelib.runtime.trial import Rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Cold = Callable[..., dict[str, float]]

HOME = ROOT / ".local" / "bench" / "cold"
STORE, MOUNT = HOME / "store", HOME / "mount"
PACKS, COMPILED = "packs", "compiled"
CACHES = Path("/proc/sys/vm/drop_caches")
GROUP = Path("/sys/fs/cgroup/blkio/radgate-bench")
# About what elastic EFS gives one client: half a millisecond a request, 200 MB a second.
REQUESTS, BYTES = 2_000, 200_000_000
# With what the kernel and this server take besides, a request takes about twice this.
ROUND_TRIP = 0.00025
# Only what a function has: the zip's packages and Python; nobody may write bytecode.
_ALONE = ("-S", "-B")


class _Parts:
    """The source of a tree that was built on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def manifest(self, tree: str) -> bytes:
        """Return the manifest."""
        del tree
        return (self._folder / "manifest.json").read_bytes()

    def part(self, tree: str, number: int) -> bytes:
        """Return a part."""
        del tree
        return (self._folder / f"part-{number + 1:04d}.gz").read_bytes()


@contextmanager
def _no_bar(_title: str, _total: float) -> Iterator[Callable[[float], None]]:
    yield lambda _step: None


def fill(tell: Callable[[str], None]) -> tuple[Path, Path]:
    """Bring tree and pack into STORE; return where a mounted tree is, without and with bytecode.

    What is there is left as it is.
    """
    tree, parts = cached_tree(native(), tell, _no_bar)
    if not (STORE / COMPILED / tree).is_dir():
        tell("unpacking the tree")
        for left in (STORE, MOUNT):
            shutil.rmtree(left, ignore_errors=True)
        path = (ROOT, lambda_packages("local"))
        trial = Rehearsal(["chalicelib.inference.rehearsal:rehearse"], lambda: 300.0, path)
        answer = Sync(Trees(MOUNT), _Parts(parts), trial, lambda: 900.0).handle(
            {"action": "sync", "tree": tree}
        )
        if answer["state"] != "done":
            raise SystemExit(str(answer.get("detail", answer)))
        shutil.copytree(ROOT / "models", MOUNT / PACKS)
        tell("compiling a second one")
        # Links, so that only the bytecode is new.
        shutil.copytree(MOUNT / tree, MOUNT / f"{COMPILED}.new" / tree, copy_function=os.link)
        compileall.compile_dir(MOUNT / f"{COMPILED}.new" / tree / FILES, quiet=2, workers=0)
        (MOUNT / f"{COMPILED}.new").rename(MOUNT / COMPILED)
        MOUNT.rename(STORE)
    MOUNT.mkdir(exist_ok=True)
    return MOUNT / tree, MOUNT / COMPILED / tree


@contextmanager
def disk() -> Iterator[Cold | None]:
    """Yield what runs a program with the folder on a slow disk; None where that cannot be had."""
    if not (os.access(CACHES, os.W_OK) and GROUP.parent.is_dir() and shutil.which("mount")):
        yield None
        return
    number = STORE.stat().st_dev
    join = ("/bin/sh", "-c", f'echo $$ > {GROUP}/cgroup.procs; exec "$@"', "sh")

    def cold(program: str, *arguments: object, seconds: float) -> dict[str, float]:
        os.sync()
        CACHES.write_text("3\n", encoding="ascii")
        path = (ROOT, lambda_packages("local"))
        return run(program, *arguments, path=path, seconds=seconds, options=_ALONE, before=join)

    _free()
    _command("mount", "--bind", str(STORE), str(MOUNT))
    try:
        GROUP.mkdir(exist_ok=True)
        for name, most in (("read_iops", REQUESTS), ("read_bps", BYTES)):
            rule = f"{os.major(number)}:{os.minor(number)} {most}\n"
            (GROUP / f"blkio.throttle.{name}_device").write_text(rule, encoding="ascii")
        yield cold
    finally:
        _free()
        with suppress(OSError):
            GROUP.rmdir()


@contextmanager
def network() -> Iterator[Cold | None]:
    """Yield what runs a program with the folder at a distance; None where that cannot be had."""
    if find_spec("mfusepy") is None or shutil.which("fusermount3") is None:
        yield None
        return
    server = [sys.executable, "-m", "benchmarks.distant", str(STORE), str(MOUNT)]
    server += ["--round-trip", str(ROUND_TRIP), "--rate", str(BYTES)]

    def cold(program: str, *arguments: object, seconds: float) -> dict[str, float]:
        _free()
        with subprocess.Popen(server, cwd=ROOT, stdout=subprocess.PIPE) as process:  # noqa: S603
            try:
                _wait_for_mount(process)
                path = (ROOT, lambda_packages("local"))
                taken = run(program, *arguments, path=path, seconds=seconds, options=_ALONE)
            finally:
                _free()
                answer, _ = process.communicate(timeout=30)
        asked: dict[str, int] = json.loads(answer)
        size = asked.pop("bytes", 0)
        return {**taken, "read_mb": size / 1e6, "requests": sum(asked.values())}

    yield cold


def _is_mounted() -> bool:
    """Tell it by the system's list: a folder of the same disk does not show that it is mounted."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return str(MOUNT) in {line.split()[1] for line in lines}


def _free() -> None:
    """Take down what is mounted, also what a killed run has left; who still looks at it may."""
    while _is_mounted():
        way = ("umount", "-l") if os.geteuid() == 0 else ("fusermount3", "-u", "-z")
        _command(*way, str(MOUNT))


def _wait_for_mount(server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while not _is_mounted():
        if server.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("the file system at a distance was not mounted")
        time.sleep(0.02)


def _command(*words: str) -> None:
    subprocess.run(words, check=True)  # noqa: S603 - fixed words
