"""Makes the active tree importable, and quickly so on a network file system.

Nothing here is imported, let alone done, before a request needs torch. The tree stands on
`sys.path` behind our own zip and Python itself, which win, and before what else is installed.
With a snapshot (see `snapshot`) the modules' code comes out of one file, and shared libraries are
read ahead while others import.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from typing import TYPE_CHECKING

from chalicelib.runtime.snapshot import read_snapshot
from chalicelib.runtime.trees import FILES, SNAPSHOT, Trees

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import CodeType, ModuleType

    from chalicelib.runtime.snapshot import Snapshot


def use_active_tree(root: Path) -> str | None:
    """Let this process import from the active tree; return its name, None where there is none.

    Call it once, before anything of the tree is imported. Raises TreeRefused when the pointer is
    damaged.
    """
    trees = Trees(root)
    active = trees.active()
    if active is None:
        return None
    use_tree(trees.folder(active.tree))
    return active.tree


def use_tree(folder: Path, *, ahead: bool = True, snapshot: bool = True) -> None:
    """Let this process import from the tree in `folder`.

    `snapshot`, `ahead`: whether to use the snapshot's code, and its list of what to read ahead.
    """
    files = folder / FILES
    found = read_snapshot(folder / SNAPSHOT) if snapshot else None
    position = _position()
    if found is not None:
        if ahead and found.stretches:
            # A thread, because asking for much may block where the file system is slow to answer.
            threading.Thread(
                target=_read_ahead, args=(files, found), daemon=True, name="read-ahead"
            ).start()
        sys.meta_path.insert(0, SnapshotFinder(files, found, sys.path[:position]))
    sys.path.insert(position, str(files))


def _position() -> int:
    """Where on `sys.path` the tree goes."""
    installed = ("site-packages", "dist-packages")
    places = [i for i, entry in enumerate(sys.path) if os.path.basename(entry) in installed]  # noqa: PTH119
    return places[0] if places else len(sys.path)


class SnapshotFinder(MetaPathFinder):
    """Finds the modules of a snapshot; their files are where they are, their code is at hand."""

    def __init__(self, files: Path, snapshot: Snapshot, before: list[str]) -> None:
        """`before`: what stands before the tree on `sys.path` and therefore wins."""
        self._files = str(files)
        self._snapshot = snapshot
        tops = {name.partition(".")[0] for name in snapshot.modules}
        self._tops = {top for top in tops if PathFinder.find_spec(top, before) is None}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module of the snapshot is."""
        del path, target
        module = self._snapshot.modules.get(fullname)
        if module is None or fullname.partition(".")[0] not in self._tops:
            return None
        origin = f"{self._files}/{module.path}"
        spec = spec_from_file_location(
            fullname,
            origin,
            loader=_SnapshotLoader(fullname, origin, self._snapshot),
            submodule_search_locations=[origin.rpartition("/")[0]] if module.package else None,
        )
        if spec is not None:
            spec.cached = None
        return spec


class _SnapshotLoader(SourceFileLoader):
    """A loader of source files that need not read them to run them."""

    def __init__(self, name: str, path: str, snapshot: Snapshot) -> None:
        super().__init__(name, path)
        self._snapshot = snapshot

    def get_code(self, fullname: str) -> CodeType:
        """Return the code from the snapshot."""
        return self._snapshot.code(fullname)


def _read_ahead(files: Path, snapshot: Snapshot) -> None:
    for name, stretches in snapshot.stretches.items():
        with suppress(OSError):  # it is only a hint
            handle = os.open(files / name, os.O_RDONLY)
            try:
                for offset, length in stretches:
                    os.posix_fadvise(handle, offset, length, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(handle)
