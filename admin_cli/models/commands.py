"""The commands of ``radgate models``: packs in a model folder, and which of them answers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from admin_cli.console import CliError, Console, console_of
from admin_cli.models.folder import shipped
from admin_cli.models.place import before, named, parse_model, place_of, proven
from admin_cli.models.switch import bring, switch, trail_of
from admin_cli.models.views import cell, fetched, listed, name_of, plain, title
from chalicelib.inference.packs import verify_pack
from chalicelib.inference.shelf import facts_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from admin_cli.models.place import Place
    from chalicelib.tenants.audit import Trail

app = typer.Typer(help="Install, check and switch model packs.", no_args_is_help=True)

ModelDir = Annotated[
    Path | None,
    typer.Option(
        "--model-dir",
        envvar="MODEL_DIR",
        metavar="DIR",
        help="Folder of the packs. Default: that of stage local, or the mount of the stage.",
    ),
]


@app.command()
def install(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="PATH|NAME", help="A pack's folder, or a known name.")
    ],
    model_dir: ModelDir = None,
    url: Annotated[
        str | None, typer.Option("--from", metavar="URL", help="Fetch the release from a mirror.")
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", metavar="HEX", help="What the release file must be."),
    ] = None,
) -> None:
    """Verify a pack, prove it, and put it beside the others. It is not activated.

    Example: radgate models install densenet121-res224-all
    """
    from admin_cli.models.torchxrayvision import (  # noqa: PLC0415 - keeps --help fast
        Order,
        check_hash,
    )
    from admin_cli.models.torchxrayvision_releases import RELEASES  # noqa: PLC0415

    console = console_of(context)
    place = place_of(console, model_dir)
    path = Path(source)
    known = source.partition("@")[0] in RELEASES and not path.exists()
    if (url or sha256) and not known:
        raise typer.BadParameter(
            f"--from and --sha256 are for releases: {', '.join(sorted(RELEASES))}"
        )
    check_hash(sha256)
    if known:
        name, _, version = source.partition("@")
        if version not in {"", "1"}:
            raise CliError(f"the release {name} is version 1")
        path = fetched(console, Order(name, url, sha256), place.workshop)
    elif not path.exists():
        path = shipped(source)
    try:
        # Refused before it is noted, so that the trail tells of no pack that nobody could bring in.
        sound = verify_pack(path.absolute())
        pack, new = bring(place, sound.path, facts_of(sound), _trail(console))
    finally:
        if known:  # it was made for this alone
            shutil.rmtree(path)
    if console.json:
        console.print_json({**pack, "installed": new, "model_dir": place.model_dir})
        return
    console.print(f"{name_of(pack)} {'installed' if new else 'was installed already'} in {place}")
    if pack["source"] is not None and pack["source"]["trust"] == "first-use":
        console.info(
            f"Its release file had no SHA-256 on record; it is {pack['source']['sha256']}."
            " Compare it with another source, and pin it with --sha256."
        )
    if place.facts()["active"] != f"{pack['name']}-{pack['version']}":
        stage = "" if console.stage == "local" else f"--stage {console.stage} "
        console.info(f"Let it answer: radgate {stage}models activate {name_of(pack)}")


@app.command("list")
def list_(context: typer.Context, model_dir: ModelDir = None) -> None:
    """Show the installed packs and which one answers, and of a broken one, why it is.

    Files are counted and measured, not read: what is in them, `models verify` checks.

    Example: radgate models list
    """
    console = console_of(context)
    rows = listed(place_of(console, model_dir).facts())
    if console.json:
        console.print_json(rows)
        return
    columns = ("model", "active", "architecture", "labels", "scale", "sha256", "error")
    console.table(columns, ([cell(row, column) for column in columns] for row in rows))


@app.command()
def verify(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Argument(parser=parse_model, metavar="[NAME@VERSION]")
    ] = None,
    model_dir: ModelDir = None,
) -> None:
    """Check every file of the packs, and that each gives its golden answer. All, or one.

    Example: radgate models verify cardionet@1
    """
    console = console_of(context)
    place = place_of(console, model_dir)
    facts = place.facts()
    folders = [named(place, facts, model)] if model else [one["folder"] for one in facts["packs"]]
    if not folders:
        raise CliError(f"no model is installed in {place}")
    reasons = {folder: place.fault(folder) for folder in folders}
    if console.json:
        console.print_json(
            [
                {"model": title(folder), "sound": not why, "error": why}
                for folder, why in reasons.items()
            ]
        )
    else:
        rows = [(title(folder), why or "sound") for folder, why in reasons.items()]
        console.table(("model", "state"), rows)
    bad = [title(folder) for folder, why in reasons.items() if why]
    if bad:
        raise CliError(f"not sound: {', '.join(bad)}")


@app.command()
def activate(
    context: typer.Context,
    model: Annotated[str, typer.Argument(parser=parse_model, metavar="NAME@VERSION")],
    model_dir: ModelDir = None,
) -> None:
    """Let a pack answer, once it has proven itself. Running functions follow within a minute.

    Example: radgate --stage prod models activate cardionet@1
    """
    console = console_of(context)
    place = place_of(console, model_dir)
    _switch(console, place, named(place, place.facts(), model), "model.activate", place.activate)


@app.command()
def rollback(context: typer.Context, model_dir: ModelDir = None) -> None:
    """Let the pack before the active one answer again.

    Example: radgate --stage prod models rollback
    """
    console = console_of(context)
    place = place_of(console, model_dir)
    _switch(console, place, before(place.facts()), "model.rollback", place.rollback)


def _switch(
    console: Console, place: Place, folder: str, action: str, apply: Callable[[str], None]
) -> None:
    pack = proven(place, folder)
    switch(place.facts, pack, action, lambda: apply(folder), _trail(console))
    console.answer({**plain(pack), "active": True}, f"{name_of(pack)} is active")


def _trail(console: Console) -> Trail | None:
    trail = trail_of(console.stage)
    if trail is None:
        console.info("The local AWS is not running: this is not noted in its audit trail.")
    return trail
