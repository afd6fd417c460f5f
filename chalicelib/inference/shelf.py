"""The packs on the mount as `efs_sync` writes them: brought in whole, proven, switched.

Knows nothing of torch: a pack proves itself in a process of its own.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

from chalicelib.durable import flush
from chalicelib.errors import ModelUnavailable, NotFound
from chalicelib.inference.packs import (
    activate,
    active_pack,
    load_manifest,
    look_over,
    previous_folder,
    rollback,
    verify_pack,
    was_chosen,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chalicelib.inference.packs import Pack

_INCOMING, _DOOMED = ".incoming-", ".doomed"
_TREE = re.compile(r"[0-9a-f]{64}")
_FOLDER = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,98}[a-z0-9])?")


class PackShelf:
    """Where one pack goes. Every method may raise ModelUnavailable.

    Args:
        model_dir: the folder of all packs.
        folder: the pack's own, such as cardionet-1.
        sha256: of its manifest, which vouches for its other files.
    """

    def __init__(self, model_dir: Path, folder: str, sha256: str) -> None:
        self._model_dir = model_dir
        self._final = model_dir / _checked(folder)
        self._sha256 = sha256

    def has(self, tree: str) -> bool:
        """Tell whether this very pack is there, sound; a damaged one counts as none.

        Raises ModelUnavailable when another pack has its name and version.
        """
        if not self._final.exists():
            return False
        try:
            found = verify_pack(self._final)
        except ModelUnavailable:
            return False
        if found.ref.sha256 != self._sha256:
            name = f"{found.ref.name}@{found.ref.version}"
            raise ModelUnavailable(
                f"another pack {name} is installed; give the new one another version"
            )
        # Left by a run that was killed right after it had published.
        shutil.rmtree(self.incoming(tree), ignore_errors=True)
        return True

    def incoming(self, tree: str) -> Path:
        """Return the folder in which the pack is put together."""
        if not _TREE.fullmatch(tree):
            raise ModelUnavailable("a tree is named by 64 hexadecimal digits")
        return self._model_dir / f"{_INCOMING}{tree}"

    def files(self, tree: str) -> Path:
        """Return where its files are put; a pack is sound under its own name only."""
        return self.incoming(tree) / self._final.name

    def home(self, tree: str) -> Path:
        """Return where its files will be."""
        del tree
        return self._final

    def publish(self, tree: str) -> None:
        """Give a proven pack its name in one step; a damaged one of that name goes."""
        incoming, files = self.incoming(tree), self.files(tree)
        if load_manifest(files).ref.sha256 != self._sha256:
            raise ModelUnavailable(f"the pack is not the {self._final.name} that was ordered")
        keep_serving(self._model_dir)
        if self._final.exists():
            self._final.rename(incoming / _DOOMED)
        files.rename(self._final)
        flush(self._model_dir)
        shutil.rmtree(incoming, ignore_errors=True)


class PackFolder:
    """Satisfies `runtime.sync.Models`. `prove`: has the pack in a folder give its golden answer."""

    def __init__(self, model_dir: Path, prove: Callable[[Path], None]) -> None:
        self._model_dir = model_dir
        self._prove = prove

    def facts(self) -> dict[str, Any]:
        """Return what is installed, broken ones with the reason, and which pack answers.

        Only the manifests are read. A pack whose files are not all there, or not of their length,
        has its facts and an `error`; one without a manifest has the `error` alone.
        """
        found = []
        if self._model_dir.is_dir():
            folders = (one for one in self._model_dir.iterdir() if one.is_dir())
            names = sorted(one.name for one in folders if not one.name.startswith("."))
            found = [self._told(self._model_dir / name) for name in names]
        return {
            "packs": found,
            "active": _name(lambda: active_pack(self._model_dir).path),
            "previous": _name(lambda: previous_folder(self._model_dir)),
            "chosen": was_chosen(self._model_dir),
        }

    def shelf(self, pack: str, sha256: str) -> PackShelf:
        """Return where a pack goes. Raises ModelUnavailable for a name that is none."""
        return PackShelf(self._model_dir, pack, sha256)

    def activate(self, pack: str, *, if_none: bool) -> None:
        """Let a pack answer once it has proven itself.

        `if_none`: another one that answers already stays. Raises NotFound and ModelUnavailable.
        """
        wanted = self._verified(pack)
        if if_none and self._serving() not in {None, wanted.path.name}:
            return
        self._prove(wanted.path)
        activate(self._model_dir, wanted.ref.name, wanted.ref.version)

    def rollback(self, pack: str) -> None:
        """Let `pack`, the one before the active one, answer; nothing is done when it does already.

        It is named so that an order given twice does not lead forward again, and so that nobody
        gets a model that he did not mean. Raises NotFound and ModelUnavailable.
        """
        wanted = self._verified(pack)
        if self._serving() == pack:
            return
        if previous_folder(self._model_dir).name != pack:
            raise ModelUnavailable(f"{pack} is no longer the model before; somebody switched")
        self._prove(wanted.path)
        rollback(self._model_dir)

    def prove(self, pack: str) -> None:
        """Check every file of a pack and its golden answer. Raises NotFound, ModelUnavailable."""
        self._prove(self._verified(pack).path)

    def _verified(self, pack: str) -> Pack:
        path = self._model_dir / _checked(pack)
        if not path.is_dir():
            raise NotFound(f"model {pack} is not installed")
        return verify_pack(path)

    def _serving(self) -> str | None:
        """Return the folder that answers, or that was chosen and is damaged by now."""
        try:
            return active_pack(self._model_dir).path.name
        except ModelUnavailable:
            # A choice that cannot be honoured is still somebody's choice.
            return "" if was_chosen(self._model_dir) else None

    @staticmethod
    def _told(path: Path) -> dict[str, Any]:
        told: dict[str, Any] = {"folder": path.name}
        try:
            pack = load_manifest(path)
            told |= facts_of(pack)
            look_over(pack)
        except ModelUnavailable as error:
            told["error"] = error.detail
        return told


def facts_of(pack: Pack) -> dict[str, Any]:
    """Return what operators are told of a pack, as JSON can carry it."""
    source = pack.manifest.source
    return {
        "name": pack.ref.name,
        "version": pack.ref.version,
        "sha256": pack.ref.sha256,
        "architecture": pack.manifest.architecture,
        "scale": pack.manifest.scale,
        "labels": [claim.name for claim in pack.manifest.labels],
        "licence": pack.manifest.licence,
        "source": None if source is None else source.model_dump(mode="json"),
    }


def _name(find: Callable[[], Path]) -> str | None:
    try:
        return find().name
    except (ModelUnavailable, NotFound):
        return None


def _checked(folder: str) -> str:
    if not _FOLDER.fullmatch(folder):
        raise ModelUnavailable("a pack's folder is named NAME-VERSION")
    return folder


def keep_serving(model_dir: Path) -> None:
    """Write down a choice that was made by there being one pack only, before there are two."""
    if was_chosen(model_dir):
        return
    try:
        serving = active_pack(model_dir).ref
        activate(model_dir, serving.name, serving.version)
    except (ModelUnavailable, NotFound):
        return  # none yet, or a damaged one: there is nothing to keep
