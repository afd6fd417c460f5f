"""A model folder as the commands see it: what lies in it, what is sound, what answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from admin_cli.console import CliError
from admin_cli.emulator import PROJECT, local_home
from chalicelib.errors import ModelUnavailable, RadgateError
from chalicelib.inference import packs

if TYPE_CHECKING:
    from pathlib import Path

    from admin_cli.console import Console
    from chalicelib.inference.packs import Pack


def folder_of(console: Console, given: Path | None) -> Path:
    """Return the model folder: the given one, or the one of stage local. Raises CliError."""
    if given is not None:
        return given.absolute()
    if console.stage == "local":
        return local_home() / "models"
    raise CliError(
        f"stage {console.stage} keeps its packs on EFS: mount it and name the folder with"
        " --model-dir"
    )


def installed_in(model_dir: Path) -> list[Path]:
    """Return the folders of all packs, sound or not, by name."""
    if not model_dir.is_dir():
        return []
    found = (entry for entry in model_dir.iterdir() if entry.is_dir())
    return sorted(entry for entry in found if not entry.name.startswith("."))


def pack_path(model_dir: Path, model: str) -> Path:
    """Return the folder of the pack NAME@VERSION. Raises CliError."""
    name, at, version = model.partition("@")
    if not at or not name or not version:
        raise CliError(f"a model is named NAME@VERSION, not {model}")
    found = [path for path in installed_in(model_dir) if path.name == f"{name}-{version}"]
    if not found:
        raise CliError(f"model {model} is not installed in {model_dir}")
    return found[0]


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


def fault(folder: Path) -> str:
    """Return what is amiss with a pack, nothing when it is sound."""
    try:
        prove(folder)
    except RadgateError as error:
        return error.detail
    return ""


def prove(folder: Path) -> None:
    """Check every file and the golden answer. Raises ModelUnavailable."""
    from chalicelib.inference.model import prove_pack  # noqa: PLC0415 - takes torch with it

    packs.verify_pack(folder)
    prove_pack(folder)


def is_active(model_dir: Path, pack: Pack) -> bool:
    """Tell whether this pack answers."""
    try:
        return packs.active_pack(model_dir).ref == pack.ref
    except ModelUnavailable:
        return False
