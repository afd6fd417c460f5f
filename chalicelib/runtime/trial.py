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


class Rehearsal:
    """Satisfies `unpacking.Trial`.

    Args:
        actions: what must work, each `module` or `module:function`.
        seconds: returns how long the next one may take.
        path: where Python finds our own code and the zip's packages.
    """

    def __init__(
        self,
        actions: Sequence[str],
        seconds: Callable[[], float],
        path: Sequence[str] | None = None,
    ) -> None:
        self._actions = tuple(actions)
        self._seconds = seconds
        self._path = list(sys.path if path is None else path)

    def __call__(self, files: Path, snapshot: Path) -> None:
        """Rehearse with `files`; write `snapshot`. Raises TreeRefused with the reason."""
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        # Absolute, and without the tree that this process itself may be running from.
        own = [str(Path(entry or ".").resolve()) for entry in self._path]
        environment["PYTHONPATH"] = os.pathsep.join(one for one in own if not _is_tree(one))
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        command = [sys.executable, "-s", "-m", "chalicelib.runtime.snapshot"]
        try:
            done = subprocess.run(  # noqa: S603 - our own program, no shell
                [*command, str(files), str(snapshot), *self._actions],
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


def _is_tree(path: str) -> bool:
    return Path(path).name == "files" and (Path(path).parent / "manifest.json").is_file()
