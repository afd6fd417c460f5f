"""Makes the active tree importable, and quickly so on a network file system.

Nothing here is imported, let alone done, before a request needs torch. The tree stands on
`sys.path` behind our own zip and Python itself, which win, and before what else is installed.
With a snapshot (see `snapshot`) the modules' code comes out of one file, and shared libraries are
read ahead while others import.
"""

from __future__ import annotations

import inspect
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

_READERS = 4  # each waits for one round trip at a time


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
            _read_ahead(files, found)
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

    def exec_module(self, module: ModuleType) -> None:
        """Run the module.

        While torch is imported it asks `inspect` more than once which module some code is of. That
        looks for the file of every module, a round trip each, unless it has done so before.
        """
        for known, key, value in (
            ("_filesbymodname", self.name, self.path),
            ("modulesbyfile", self.path, self.name),
        ):
            getattr(inspect, known, {})[key] = value
        super().exec_module(module)

    def get_code(self, fullname: str) -> CodeType:
        """Return the code from the snapshot."""
        return self._snapshot.code(fullname)


def _read_ahead(files: Path, snapshot: Snapshot) -> None:
    """Have the system read what will be needed, in the order in which it will."""
    stretches, order = snapshot.stretches, _order(snapshot)

    def when(name: str) -> tuple[int, int]:
        # The largest last, for the one that loads them has to wait for all of it anyway.
        return order.get(_top(name), len(order)), sum(length for _, length in stretches[name])

    todo = ((files / name, *one) for name in sorted(stretches, key=when) for one in stretches[name])
    lock = threading.Lock()

    def read() -> None:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device
            while True:
                with lock:
                    path, offset, length = next(todo, (None, 0, 0))
                if path is None:
                    return
                with suppress(OSError), path.open("rb", buffering=0) as file:
                    send(nowhere.fileno(), file.fileno(), offset, length)

    for _ in range(_READERS):
        threading.Thread(target=read, daemon=True, name="read-ahead").start()


def send(nowhere: int, file: int, offset: int, length: int) -> None:
    """Send a stretch to nowhere: it is read, into no memory of ours, and Python goes on meanwhile.

    Advice (POSIX_FADV_WILLNEED) would not do: a kernel reads no more for one piece of it than it
    reads ahead anyway, 128 KiB on NFS, and to give many pieces takes Python's lock many times,
    which the loading of a library holds for seconds.
    """
    while length > 0:
        sent = os.sendfile(nowhere, file, offset, length)
        if sent == 0:
            return
        offset, length = offset + sent, length - sent


def _order(snapshot: Snapshot) -> dict[str, int]:
    """Return the packages in the order in which they are imported."""
    return {top: n for n, top in enumerate(dict.fromkeys(map(_top, snapshot.modules)))}


def _top(name: str) -> str:
    """Return the package of a module or of a file; that of ``numpy.libs/…`` is numpy."""
    return name.partition("/")[0].partition(".")[0]
