"""Tries out what came onto the mount, in a process of its own, which may crash.

Of a tree of packages it keeps what was imported; of a pack it wants the golden answer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from chalicelib.runtime.manifest import TreeRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_KEPT = ("PATH", "LD_LIBRARY_PATH", "LANG")
_HOME = Path(__file__).resolve().parents[2]


class Rehearsal:
    """Satisfies `unpacking.Trial` for trees of packages.

    Args:
        actions: what must work, each `module` or `module:function`.
        seconds: returns how long the next one may take.
        path: where Python finds our own code and what it came with; the folder that we are in.
    """

    def __init__(
        self,
        actions: Sequence[str],
        seconds: Callable[[], float],
        path: Sequence[Path] = (_HOME,),
    ) -> None:
        self._actions = tuple(actions)
        self._seconds = seconds
        self._path = tuple(path)

    def __call__(self, files: Path, home: Path, snapshot: Path) -> None:
        """Rehearse with `files`; write `snapshot`. Raises TreeRefused with the reason."""
        places = (str(one.resolve()) for one in (files, home, snapshot))
        # -S: nothing that is installed beside Python may stand in for what the tree lacks.
        command = ["-S", "-m", "chalicelib.runtime.snapshot", *places, *self._actions]
        reason = _run_apart(command, self._path, self._seconds())
        if reason is not None:
            raise TreeRefused(f"the tree does not work here: {reason}")


class Proof:
    """Satisfies `unpacking.Trial` for packs: each must give its golden answer.

    Args:
        module: what proves the pack in the folder that it is given.
        seconds: returns how long it may take.
        packages: returns where torch is; None where it is installed beside Python.
        path: as for `Rehearsal`.
    """

    def __init__(
        self,
        module: str,
        seconds: Callable[[], float],
        packages: Callable[[], Path | None],
        path: Sequence[Path] = (_HOME,),
    ) -> None:
        self._module = module
        self._seconds = seconds
        self._packages = packages
        self._path = tuple(path)

    def __call__(self, files: Path, home: Path, snapshot: Path) -> None:
        """Prove the pack in `files`. Raises TreeRefused with the reason."""
        del home, snapshot
        packages = self._packages()
        alone = [] if packages is None else ["-S"]
        path = self._path if packages is None else (*self._path, packages)
        command = [*alone, "-m", self._module, str(files.resolve())]
        reason = _run_apart(command, path, self._seconds())
        if reason is not None:
            raise TreeRefused(f"the pack does not work here: {reason}")


def _run_apart(arguments: Sequence[str], path: Sequence[Path], seconds: float) -> str | None:
    """Run Python with nothing of this process; None when all went well, else the reason."""
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(str(one.resolve()) for one in path)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    try:
        done = subprocess.run(  # noqa: S603 - our own program, no shell
            [sys.executable, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=max(1.0, seconds),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "it was not done in time"
    if done.returncode == 0:
        return None
    last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
    return last[:300]
