"""The commands of ``radgate models``: packs in a model folder, and which of them answers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from admin_cli.console import CliError, Console, console_of
from admin_cli.models.folder import (
    fault,
    folder_of,
    installed_in,
    is_active,
    pack_path,
    prove,
    shipped,
)
from admin_cli.models.switch import switch, trail_of
from admin_cli.models.views import cell, facts_of, fetched, name_of
from chalicelib.errors import ModelUnavailable
from chalicelib.inference import packs

if TYPE_CHECKING:
    from collections.abc import Callable

    from chalicelib.inference.packs import Pack

app = typer.Typer(help="Install, check and switch model packs.", no_args_is_help=True)

Folder = Annotated[
    Path | None,
    typer.Option(
        "--model-dir",
        envvar="MODEL_DIR",
        metavar="DIR",
        help="Folder of the packs. Stage local has one of its own.",
    ),
]


@app.command()
def install(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="PATH|NAME", help="A pack's folder, or a known name.")
    ],
    model_dir: Folder = None,
    url: Annotated[
        str | None, typer.Option("--from", metavar="URL", help="Fetch the release from a mirror.")
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", metavar="HEX", help="What the release file must be."),
    ] = None,
) -> None:
    """Verify a pack, prove it, and put it into the model folder. It is not activated."""
    from admin_cli.models.pack_install import install as put  # noqa: PLC0415 - keeps --help fast
    from admin_cli.models.torchxrayvision import Order, check_hash  # noqa: PLC0415
    from admin_cli.models.torchxrayvision_releases import RELEASES  # noqa: PLC0415

    console = console_of(context)
    target = folder_of(console, model_dir)
    path = Path(source)
    known = source.partition("@")[0] in RELEASES and not path.exists()
    if (url or sha256) and not known:
        raise CliError(f"--from and --sha256 are for releases: {', '.join(sorted(RELEASES))}")
    check_hash(sha256)
    if known:
        name, _, version = source.partition("@")
        if version not in {"", "1"}:
            raise CliError(f"the release {name} is version 1")
        path = fetched(console, Order(name, url, sha256), target)
    elif not path.exists():
        path = shipped(source)
    try:
        pack, new = put(path, target)
    finally:
        if known:  # it was made for this alone
            shutil.rmtree(path)
    if console.json:
        console.print_json({**facts_of(pack), "installed": new, "model_dir": str(target)})
        return
    console.print(f"{name_of(pack)} {'installed' if new else 'was installed already'} in {target}")
    if pack.manifest.source is not None and pack.manifest.source.trust == "first-use":
        console.info(
            f"Its release file had no SHA-256 on record; it is {pack.manifest.source.sha256}."
            " Compare it with another source, and pin it with --sha256."
        )
    if not is_active(target, pack):
        console.info(f"Let it answer: radgate models activate {name_of(pack)}")


@app.command("list")
def list_(context: typer.Context, model_dir: Folder = None) -> None:
    """Show the installed packs and which one answers. Broken ones are shown with the reason."""
    console = console_of(context)
    target = folder_of(console, model_dir)
    rows = []
    for folder in installed_in(target):
        try:
            pack = packs.load_manifest(folder)
        except ModelUnavailable as error:
            rows.append({"folder": folder.name, "active": False, "error": error.detail})
            continue
        rows.append({**facts_of(pack), "active": is_active(target, pack), "error": None})
    if console.json:
        console.print_json(rows)
        return
    columns = ("model", "active", "architecture", "labels", "scale", "sha256", "error")
    console.table(columns, ([cell(row, column) for column in columns] for row in rows))


@app.command()
def verify(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(metavar="[NAME@VERSION]")] = None,
    model_dir: Folder = None,
) -> None:
    """Check every file of the packs, and that each gives its golden answer. All, or one."""
    console = console_of(context)
    target = folder_of(console, model_dir)
    folders = [pack_path(target, model)] if model else installed_in(target)
    if not folders:
        raise CliError(f"no model is installed in {target}")
    reasons = {folder.name: fault(folder) for folder in folders}
    if console.json:
        console.print_json(
            [{"folder": name, "sound": not why, "error": why} for name, why in reasons.items()]
        )
    else:
        console.table(("pack", "state"), [(name, why or "sound") for name, why in reasons.items()])
    bad = [name for name, why in reasons.items() if why]
    if bad:
        raise CliError(f"not sound: {', '.join(bad)}")


@app.command()
def activate(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="NAME@VERSION")],
    model_dir: Folder = None,
) -> None:
    """Let a pack answer, once it has proven itself. Running functions follow within a minute."""
    console = console_of(context)
    target = folder_of(console, model_dir)
    path = pack_path(target, model)
    prove(path)
    name, _, version = model.partition("@")
    wanted = packs.load_manifest(path)
    _switch(
        console, target, wanted, "model.activate", lambda: packs.activate(target, name, version)
    )


@app.command()
def rollback(context: typer.Context, model_dir: Folder = None) -> None:
    """Let the pack before the active one answer again."""
    console = console_of(context)
    target = folder_of(console, model_dir)
    before = packs.previous_pack(target)
    prove(before.path)
    _switch(console, target, before, "model.rollback", lambda: packs.rollback(target))


def _switch(
    console: Console, target: Path, wanted: Pack, action: str, apply: Callable[[], Pack]
) -> None:
    trail = trail_of(console.stage)
    if trail is None:
        console.info("The local AWS is not running: this is not noted in its audit trail.")
    pack = switch(target, wanted, action, apply, trail)
    if console.json:
        console.print_json({**facts_of(pack), "active": True})
    else:
        console.print(f"{name_of(pack)} is active")
