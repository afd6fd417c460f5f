"""Tries a tree out in a process of its own, which may crash, and keeps what it imported."""

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
    """Satisfies `unpacking.Trial`.

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
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(str(one.resolve()) for one in self._path)
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        # -S: nothing that is installed beside Python may stand in for what the tree lacks.
        command = [sys.executable, "-S", "-m", "chalicelib.runtime.snapshot"]
        try:
            done = subprocess.run(  # noqa: S603 - our own program, no shell
                [
                    *command,
                    *(str(one.resolve()) for one in (files, home, snapshot)),
                    *self._actions,
                ],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=max(1.0, self._seconds()),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TreeRefused("the tree could not be tried out in time") from error
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
            raise TreeRefused(f"the tree does not work here: {last[:300]}")
