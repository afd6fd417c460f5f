"""Where a stage keeps its packs: in a folder that is at hand, or on a mount behind a function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import typer

from admin_cli.console import CliError
from admin_cli.deploying.mount_runtime import needs_runtime
from admin_cli.emulator import local_home
from admin_cli.foundation import read_foundation
from admin_cli.models.folder import Folder
from admin_cli.models.on_mount import OnMount
from admin_cli.runtime.remote import Mount
from chalicelib.errors import ModelUnavailable, NotFound

if TYPE_CHECKING:
    from pathlib import Path

    from admin_cli.console import Console


class Place(Protocol):
    """Packs, each known by the name of its folder. Any method may raise CliError.

    `str()` of it tells an operator where it is. `workshop`: where a release is made into a pack.
    """

    @property
    def model_dir(self) -> Path | None:
        """The folder, where there is one at hand."""

    @property
    def workshop(self) -> Path:
        """The folder on this machine for what is on its way."""

    def facts(self) -> dict[str, Any]:
        """Return what `shelf.PackFolder.facts` does."""

    def fault(self, pack: str) -> str:
        """Return what is amiss with a pack and its golden answer, nothing when it is sound."""

    def install(self, source: Path) -> tuple[dict[str, Any], bool]:
        """Bring in the pack in folder `source`; return it, and whether it is new."""

    def activate(self, pack: str) -> None:
        """Let a pack answer once it has proven itself."""

    def rollback(self, pack: str) -> None:
        """Let `pack`, the one before the active one, answer again."""


def place_of(console: Console, given: Path | None) -> Place:
    """Return the given folder, the one of stage local, or the mount of a deployed stage.

    Raises CliError for a stage that is not deployed or has no mount.
    """
    if given is not None:
        return Folder(given.absolute())
    if console.stage == "local":
        return Folder(local_home() / "models")
    foundation = read_foundation(console.stage)
    if not needs_runtime(foundation):
        raise CliError(
            f"stage {console.stage} has no file system: name the folder of its packs with"
            " --model-dir"
        )
    mount = Mount.of_stage(console.stage)
    return OnMount(mount, console.stage, foundation.BucketName, console.info, console.progress)


def parse_model(text: str) -> str:
    """Return the NAME@VERSION of a pack. Raises BadParameter."""
    name, _, version = text.partition("@")
    if not name or not version:
        raise typer.BadParameter(f"a model is named NAME@VERSION, not {text}")
    return text


def named(place: Place, facts: dict[str, Any], model: str) -> str:
    """Return the folder of the pack NAME@VERSION. Raises CliError when it is not there."""
    name, _, version = model.partition("@")
    folder = f"{name}-{version}"
    if folder not in {one["folder"] for one in facts["packs"]}:
        raise CliError(f"model {model} is not installed in {place}")
    return folder


def before(facts: dict[str, Any]) -> str:
    """Return the folder of the pack before the active one. Raises NotFound, ModelUnavailable."""
    if facts["previous"] is None:
        if facts["chosen"] and facts["active"] is None:  # what was chosen cannot be read
            raise ModelUnavailable(
                "no model answers, and no earlier one is known: choose one with `models activate`"
            )
        raise NotFound("there is no earlier model to go back to")
    return str(facts["previous"])


def proven(place: Place, folder: str) -> dict[str, Any]:
    """Return a pack that is sound and gives its golden answer. Raises ModelUnavailable."""
    why = place.fault(folder)
    found: dict[str, dict[str, Any]] = {one["folder"]: one for one in place.facts()["packs"]}
    if why or "name" not in found.get(folder, {}):
        raise ModelUnavailable(why or f"pack {folder} went away meanwhile")
    return found[folder]
