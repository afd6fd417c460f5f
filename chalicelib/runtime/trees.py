"""The trees on the mount: which are whole, which one is active, and which may go.

The folder holds `<tree>/{manifest.json,files/,snapshot.bin}`, one folder a tree, and `active.json`,
which names the active tree and the one before it. A folder with a tree's name is always complete:
it was made under another name and renamed. Running functions keep the tree they began with.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from chalicelib.durable import flush, replace_text
from chalicelib.runtime.manifest import TreeRefused, checked_name, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chalicelib.runtime.manifest import Manifest

ACTIVE, FILES, MANIFEST, SNAPSHOT = "active.json", "files", "manifest.json", "snapshot.bin"
_INCOMING, _DOOMED = ".incoming-", ".doomed-"


class MountBusy(Exception):
    """Another run writes to the mount; it will be done at some time."""


@dataclass(frozen=True, slots=True)
class Active:
    """What `active.json` says. `switches`: how often another tree took the place of one."""

    tree: str
    previous: str | None = None
    switches: int = 0


class Trees:
    """The folder of the trees. Every method raises TreeRefused for what is not sound."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, tree: str) -> Path:
        """Where a whole tree lies."""
        return self.root / checked_name(tree)

    def incoming(self, tree: str) -> Path:
        """Where a tree is put together."""
        return self.root / f"{_INCOMING}{checked_name(tree)}"

    def has(self, tree: str) -> bool:
        """Tell whether a tree is there, and whole."""
        if not self.folder(tree).is_dir():
            return False
        self.manifest(tree)
        return True

    def files(self, tree: str) -> Path:
        """Where the files of an incoming tree are put."""
        return self.incoming(tree) / FILES

    def home(self, tree: str) -> Path:
        """Where the files of a whole tree lie."""
        return self.folder(tree) / FILES

    def active(self) -> Active | None:
        """Return what is active, None when nothing ever was."""
        try:
            found = json.loads((self.root / ACTIVE).read_bytes())
            previous = found["previous"]
            return Active(
                checked_name(found["tree"]),
                None if previous is None else checked_name(previous),
                int(found.get("switches", 0)),  # an older release did not count
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise TreeRefused(f"{ACTIVE} is not well formed") from error

    def installed(self) -> list[str]:
        """Return the names of the whole trees, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(
            entry.name
            for entry in self.root.iterdir()
            if not entry.name.startswith(".") and entry.is_dir() and not entry.is_symlink()
        )

    def manifest(self, tree: str) -> Manifest:
        """Return the manifest of a whole tree."""
        try:
            data = (self.folder(tree) / MANIFEST).read_bytes()
        except OSError as error:
            raise TreeRefused(f"tree {tree[:12]} is not installed") from error
        return read_manifest(data, tree)

    def publish(self, tree: str) -> None:
        """Give a finished tree its name, in one step."""
        self.incoming(tree).rename(self.folder(tree))
        flush(self.root)

    def activate(self, tree: str) -> Active:
        """Let new processes import from this tree; keep the one before it for `rollback`."""
        self.manifest(tree)
        before = self.active()
        if before is None:
            now = Active(tree)
        elif before.tree == tree:
            return before
        else:
            now = Active(tree, before.tree, before.switches + 1)
        replace_text(self.root / ACTIVE, json.dumps(asdict(now)))
        return now

    def rollback(self) -> Active:
        """Let the tree before the active one be active again; a second call undoes the first."""
        found = self.active()
        if found is None or found.previous is None:
            raise TreeRefused("there is no earlier tree to go back to")
        return self.activate(found.previous)

    def prune(self) -> list[str]:
        """Remove all trees but the active one and the one before; return which."""
        found = self.active()
        if found is None:
            return []
        kept = {found.tree, found.previous}
        gone = [tree for tree in self.installed() if tree not in kept]
        for tree in gone:
            # Under its own name a tree is whole or not there, also while it is being deleted.
            self.folder(tree).rename(self.root / f"{_DOOMED}{tree}")
        for entry in self.root.iterdir():
            if entry.name.startswith((_DOOMED, _INCOMING)) and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
        return gone

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep a second writer out. Raises MountBusy when another is at work."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise MountBusy("another run is at work on the mount") from error
            yield
