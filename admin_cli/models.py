"""The commands of ``radgate models``: packs in a model folder, and which of them answers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from admin_cli.console import CliError, Console, console_of
from admin_cli.emulator import PROJECT, local_home
from chalicelib.errors import ModelUnavailable, RadgateError
from chalicelib.inference import packs

if TYPE_CHECKING:
    from admin_cli.torchxrayvision import Order
    from chalicelib.inference.packs import Pack

_DOWNLOADS = ".downloads"

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
    from admin_cli.pack_install import install as put  # noqa: PLC0415 - keeps --help fast
    from admin_cli.torchxrayvision import Order, check_hash  # noqa: PLC0415
    from admin_cli.torchxrayvision_releases import RELEASES  # noqa: PLC0415

    console = console_of(context)
    target = _folder(console, model_dir)
    path = Path(source)
    known = source.partition("@")[0] in RELEASES and not path.exists()
    if (url or sha256) and not known:
        raise CliError(f"--from and --sha256 are for releases: {', '.join(sorted(RELEASES))}")
    check_hash(sha256)
    if known:
        name, _, version = source.partition("@")
        if version not in {"", "1"}:
            raise CliError(f"the release {name} is version 1")
        path = _fetched(console, Order(name, url, sha256), target)
    elif not path.exists():
        path = _shipped(source)
    try:
        pack, new = put(path, target)
    finally:
        if known:  # it was made for this alone
            shutil.rmtree(path)
    if console.json:
        console.print_json({**_facts(pack), "installed": new, "model_dir": str(target)})
        return
    console.print(f"{_name(pack)} {'installed' if new else 'was installed already'} in {target}")
    if pack.manifest.source is not None and pack.manifest.source.trust == "first-use":
        console.info(
            f"Its release file had no SHA-256 on record; it is {pack.manifest.source.sha256}."
            " Compare it with another source, and pin it with --sha256."
        )
    if not _is_active(target, pack):
        console.info(f"Let it answer: radgate models activate {_name(pack)}")


@app.command("list")
def list_(context: typer.Context, model_dir: Folder = None) -> None:
    """Show the installed packs and which one answers. Broken ones are shown with the reason."""
    console = console_of(context)
    target = _folder(console, model_dir)
    rows = []
    for folder in _installed(target):
        try:
            pack = packs.load_manifest(folder)
        except ModelUnavailable as error:
            rows.append({"folder": folder.name, "active": False, "error": error.detail})
            continue
        rows.append({**_facts(pack), "active": _is_active(target, pack), "error": None})
    if console.json:
        console.print_json(rows)
        return
    columns = ("model", "active", "architecture", "labels", "scale", "sha256", "error")
    console.table(columns, ([_cell(row, column) for column in columns] for row in rows))


@app.command()
def verify(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(metavar="[NAME@VERSION]")] = None,
    model_dir: Folder = None,
) -> None:
    """Check every file of the packs, and that each gives its golden answer. All, or one."""
    console = console_of(context)
    target = _folder(console, model_dir)
    folders = [_path(target, model)] if model else _installed(target)
    if not folders:
        raise CliError(f"no model is installed in {target}")
    reasons = {folder.name: _fault(folder) for folder in folders}
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
    target = _folder(console, model_dir)
    path = _path(target, model)
    _prove(path)
    name, _, version = model.partition("@")
    _tell_active(console, packs.activate(target, name, version))


@app.command()
def rollback(context: typer.Context, model_dir: Folder = None) -> None:
    """Let the pack before the active one answer again."""
    console = console_of(context)
    target = _folder(console, model_dir)
    before = packs.previous_pack(target)
    _prove(before.path)
    _tell_active(console, packs.rollback(target))


def _folder(console: Console, given: Path | None) -> Path:
    if given is not None:
        return given.absolute()
    if console.stage == "local":
        return local_home() / "models"
    raise CliError(
        f"stage {console.stage} keeps its packs on EFS: mount it and name the folder with"
        " --model-dir"
    )


def _installed(model_dir: Path) -> list[Path]:
    if not model_dir.is_dir():
        return []
    found = (entry for entry in model_dir.iterdir() if entry.is_dir())
    return sorted(entry for entry in found if not entry.name.startswith("."))


def _path(model_dir: Path, model: str) -> Path:
    name, at, version = model.partition("@")
    if not at or not name or not version:
        raise CliError(f"a model is named NAME@VERSION, not {model}")
    found = [path for path in _installed(model_dir) if path.name == f"{name}-{version}"]
    if not found:
        raise CliError(f"model {model} is not installed in {model_dir}")
    return found[0]


def _shipped(name: str) -> Path:
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


def _fault(folder: Path) -> str:
    try:
        _prove(folder)
    except RadgateError as error:
        return error.detail
    return ""


def _prove(folder: Path) -> None:
    from chalicelib.inference.model import prove_pack  # noqa: PLC0415 - takes torch with it

    packs.verify_pack(folder)
    prove_pack(folder)


def _is_active(model_dir: Path, pack: Pack) -> bool:
    try:
        return packs.active_pack(model_dir).ref == pack.ref
    except ModelUnavailable:
        return False


def _name(pack: Pack) -> str:
    return f"{pack.ref.name}@{pack.ref.version}"


def _facts(pack: Pack) -> dict[str, object]:
    return {
        "name": pack.ref.name,
        "version": pack.ref.version,
        "sha256": pack.ref.sha256,
        "architecture": pack.manifest.architecture,
        "scale": pack.manifest.scale,
        "labels": [claim.name for claim in pack.manifest.labels],
        "licence": pack.manifest.licence,
        "source": pack.manifest.source,
    }


def _cell(row: dict[str, object], column: str) -> object:
    if column == "model":
        return f"{row['name']}@{row['version']}" if "name" in row else row["folder"]
    if column == "active":
        return "yes" if row["active"] else ""
    value = row.get(column)
    if column == "labels" and isinstance(value, list):
        return len(value)
    return str(value)[:12] if column == "sha256" and value else value


def _tell_active(console: Console, pack: Pack) -> None:
    if console.json:
        console.print_json({**_facts(pack), "active": True})
    else:
        console.print(f"{_name(pack)} is active")


def _fetched(console: Console, order: Order, target: Path) -> Path:
    """Make the pack of a release; what was fetched so far waits beside the packs."""
    from admin_cli.torchxrayvision import build_pack  # noqa: PLC0415 - keeps --help fast

    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=RichConsole(stderr=True),
        disable=not RichConsole(stderr=True).is_terminal,
    )
    if bars.disable:
        console.info(f"fetching {order.name}")
    with bars:
        task = bars.add_task(order.name)
        return build_pack(
            order,
            target / _DOWNLOADS,
            lambda have, total: bars.update(task, completed=have, total=total),
        )
