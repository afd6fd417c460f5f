"""Packs in a folder that is at hand, and those that the project ships."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from admin_cli.console import CliError
from admin_cli.emulator import PROJECT
from chalicelib.errors import RadgateError
from chalicelib.inference import packs
from chalicelib.inference.shelf import PackFolder, facts_of

if TYPE_CHECKING:
    from pathlib import Path


class Folder:
    """Satisfies `place.Place` for a folder on this machine."""

    def __init__(self, model_dir: Path) -> None:
        self._packs = PackFolder(model_dir, _golden)
        self.model_dir = model_dir
        self.workshop = model_dir

    def __str__(self) -> str:
        """Where it is."""
        return str(self.model_dir)

    def facts(self) -> dict[str, Any]:
        """Return what is installed and what answers."""
        return self._packs.facts()

    def fault(self, pack: str) -> str:
        """Return what is amiss with a pack, nothing when it is sound."""
        try:
            self._packs.prove(pack)
        except RadgateError as error:
            return error.detail
        return ""

    def install(self, source: Path) -> tuple[dict[str, Any], bool]:
        """Bring in the pack in folder `source`; return it, and whether it is new."""
        from admin_cli.models.pack_install import install  # noqa: PLC0415 - keeps --help fast

        pack, new = install(source, self.model_dir)
        return facts_of(pack), new

    def activate(self, pack: str) -> None:
        """Let a pack answer once it has proven itself."""
        self._packs.activate(pack, if_none=False)

    def rollback(self, pack: str) -> None:
        """Let `pack`, the one before the active one, answer again."""
        self._packs.rollback(pack)


def shipped(name: str) -> Path:
    """Return the newest pack of this name, or the very version, that the project ships."""
    wanted, _, version = name.partition("@")
    found = [
        pack
        for pack in packs.list_packs(PROJECT / "models")
        if pack.ref.name == wanted and version in {"", pack.ref.version}
    ]
    if not found:
        raise CliError(f"{name} is neither a folder nor the name of a known model")
    return max(found, key=lambda pack: [int(n) for n in pack.ref.version.split(".")]).path


def _golden(pack: Path) -> None:
    from chalicelib.inference.model import prove_pack  # noqa: PLC0415 - takes torch with it

    prove_pack(pack)
