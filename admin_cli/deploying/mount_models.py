"""The step of a deploy that brings the packs of `models/` onto the mount.

A pack that is there stays as it is, and a model that answers goes on answering: to let a newer one
answer is an operator's decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from admin_cli.console import CliError
from admin_cli.deploying.foundation_plan import Change
from admin_cli.emulator import PROJECT
from admin_cli.models.switch import change
from admin_cli.runtime.parcel import wrap
from admin_cli.runtime.upload import Upload
from chalicelib import aws
from chalicelib.inference.packs import list_packs
from chalicelib.inference.shelf import facts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from admin_cli.runtime.build import Bar
    from admin_cli.runtime.remote import Mount
    from chalicelib.inference.packs import Pack
    from chalicelib.tenants.audit import Trail

SHIPPED = PROJECT / "models"


@dataclass(frozen=True, slots=True)
class Needed:
    """What is not on the mount yet. `first`: the pack that is to answer, as none does."""

    packs: tuple[Pack, ...]
    others: tuple[str, ...]
    first: Pack | None


def needed(shipped: tuple[Pack, ...], facts: dict[str, Any]) -> Needed:
    """Compare the shipped packs with what the mount says it has.

    `others`: folders that hold another pack of the same name and version; they stay.
    """
    there = {one["folder"]: one.get("sha256") for one in facts["packs"]}
    packs = tuple(one for one in shipped if there.get(one.path.name) is None)
    others = tuple(
        one.path.name for one in shipped if there.get(one.path.name) not in {None, one.ref.sha256}
    )
    first = None
    usable = [one for one in shipped if one.path.name not in others]
    if usable and not facts["chosen"]:
        # Of the first name, the newest version.
        name = min(one.ref.name for one in usable)
        own = [one for one in usable if one.ref.name == name]
        wanted = max(own, key=lambda one: [int(n) for n in one.ref.version.split(".")])
        # A single pack answers without having been chosen; it is somebody's all the same.
        first = wanted if facts["active"] in {None, wanted.path.name} else None
    return Needed(packs, others, first)


def model_changes(mount: Mount, shipped: Path = SHIPPED) -> Iterator[Change]:
    """Yield what `bring_models` would do."""
    wanted = needed(list_packs(shipped), mount.order("list_models"))
    for pack in wanted.packs:
        yield Change("models", "create", f"{_name(pack)} onto the mount")
    if wanted.first is not None:
        yield Change("models", "activate", _name(wanted.first))


def bring_models(  # noqa: PLR0913, PLR0917 - each is a collaborator
    mount: Mount,
    bucket: str,
    home: Path,
    trail: Trail,
    tell: Callable[[str], None],
    bar: Bar,
    shipped: Path = SHIPPED,
) -> None:
    """Bring every shipped pack onto the mount; let one answer where none does.

    Each pack is verified and gives its golden answer on the mount before it is seen there, and
    once more before it answers. Raises CliError when it does not, and botocore's errors.
    """
    facts = mount.order("list_models")
    wanted = needed(list_packs(shipped), facts)
    for folder in wanted.others:
        tell(f"model {folder}: another one of that name is on the mount and stays")
    for pack in wanted.packs:
        tell(f"model {_name(pack)}: onto the mount")
        install_model(mount, bucket, home, pack.path, tell, bar)
    if wanted.first is None:
        tell("models: nothing else to do")
        return
    first = wanted.first
    tell(f"model {_name(first)}: its golden answer, then it answers")
    # The trail comes first, as in `models activate`: it may say too much, never too little.
    trail.commit(lambda: change(None, facts_of(first), "model.activate"))
    answer = mount.work(
        {"action": "activate_model", "pack": first.path.name, "if_none": True},
        lambda text: tell(f"model {_name(first)}: {text}"),
    )
    if answer["active"] is None:
        raise CliError("no model answers, though one was to")


def install_model(  # noqa: PLR0913, PLR0917 - each is a collaborator
    mount: Mount,
    bucket: str,
    home: Path,
    source: Path,
    tell: Callable[[str], None],
    bar: Bar,
) -> tuple[Pack, bool]:
    """Bring the pack in folder `source` onto the mount; return it, and whether it is new there.

    It is not activated.

    Raises ModelUnavailable for a pack that is not sound here, CliError for one that is refused
    there.
    """
    parcel = wrap(source.absolute(), home / "parcels")
    pack = parcel.pack
    work = Upload(aws.s3(), bucket, parcel.folder)
    with bar(f"uploading {pack.path.name}", work.size) as moved:
        work.run(moved)
    answer = mount.work(
        {
            "action": "install_model",
            "tree": parcel.tree,
            "pack": pack.path.name,
            "sha256": pack.ref.sha256,
        },
        lambda text: tell(f"model {_name(pack)}: {text}"),
    )
    return pack, answer.get("new", True)  # a function of an older release does not tell


def _name(pack: Pack) -> str:
    return f"{pack.ref.name}@{pack.ref.version}"
