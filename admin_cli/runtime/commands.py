"""The commands of ``radgate runtime``: the packages too large for a Lambda zip, on the mount."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from admin_cli.console import CliError, Console, console_of
from admin_cli.emulator import PROJECT, local_home
from admin_cli.runtime import SHORTEST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from admin_cli.runtime.build import Build
    from admin_cli.runtime.remote import Mount
    from admin_cli.runtime.wheels import Target

app = typer.Typer(
    help="Build torch and its like, bring them onto the mount, switch.", no_args_is_help=True
)

Tree = Annotated[
    str | None,
    typer.Argument(metavar="[TREE]", help="Its hash, or how that begins. Default: the last built."),
]


@app.command()
def build(
    context: typer.Context,
    platform: Annotated[
        str | None,
        typer.Option("--platform", metavar="lambda|native", help="For which machine."),
    ] = None,
    python: Annotated[
        str | None, typer.Option("--python", metavar="X.Y", help="For which Python on Lambda.")
    ] = None,
    index: Annotated[
        list[str] | None,
        typer.Option("--index", metavar="URL", help="A package index to ask as well."),
    ] = None,
    requirements: Annotated[
        str | None, typer.Option("--requirements", metavar="FILE", help="Other requirements.")
    ] = None,
) -> None:
    """Make the tree of packages and the parts that carry it. The same again gives the same hash.

    Example: radgate --stage prod runtime build --platform lambda
    """
    from admin_cli.runtime import build as runtime_build  # noqa: PLC0415 - keeps --help fast
    from admin_cli.runtime import wheels as runtime_wheels  # noqa: PLC0415 - keeps --help fast

    console = console_of(context)
    wanted = PROJECT / (requirements or "requirements-efs.txt")  # an absolute path stays itself
    if not wanted.is_file():
        raise CliError(f"there is no file {wanted}")
    target = _target(console, platform, python)
    cache = PROJECT / ".local" / "cache" / "wheels"
    house = runtime_wheels.Wheelhouse(target, cache, index or [], console.info)
    closure = house.fetch(wanted, PROJECT / "constraints.txt")
    made = runtime_build.build(closure, target, _home(), bar=console.progress)
    _last().write_text(f"{made.tree}\n", encoding="utf-8")
    if console.json:
        console.print_json({**asdict(made), "folder": str(_home() / made.tree)})
    else:
        _show(console, made)


@app.command()
def upload(context: typer.Context, tree: Tree = None) -> None:
    """Bring a built tree into the stage's bucket. Parts that are there already stay.

    Example: radgate --stage prod runtime upload
    """
    console = console_of(context)
    name = _built(tree)
    sent, parts = _upload(console, name)
    told = f"{name}: {sent} of {parts} parts sent"
    console.answer({"tree": name, "parts": parts, "sent": sent}, told)


@app.command()
def sync(context: typer.Context, tree: Tree = None) -> None:
    """Upload a built tree, unpack it on the mount, try it out there, and let it serve.

    Example: radgate --stage prod runtime sync
    """
    from admin_cli.runtime.remote import Mount  # noqa: PLC0415 - keeps --help fast

    console = console_of(context)
    name = _built(tree)
    mount = Mount.of_stage(console.stage)
    _upload(console, name)
    _switch(console, mount, "runtime.sync", name, lambda: mount.sync(name, console.info))


@app.command("list")
def list_(context: typer.Context) -> None:
    """Show the trees on the mount and which one serves.

    Example: radgate --stage prod runtime list
    """
    from admin_cli.runtime.remote import Mount  # noqa: PLC0415

    console = console_of(context)
    _show_mount(console, Mount.of_stage(console.stage).order("list"))


@app.command()
def activate(context: typer.Context, tree: Annotated[str, typer.Argument(metavar="TREE")]) -> None:
    """Let a tree on the mount serve. Processes that began with another one end.

    Example: radgate --stage prod runtime activate 3f9a1c07d2be
    """
    from admin_cli.runtime.remote import Mount  # noqa: PLC0415

    console = console_of(context)
    mount = Mount.of_stage(console.stage)
    there = [one["tree"] for one in mount.order("list")["trees"]]
    name = _one_of(tree, there, "on the mount")
    _switch(console, mount, "runtime.activate", name, lambda: mount.order("activate", tree=name))


@app.command()
def rollback(
    context: typer.Context,
    tree: Annotated[
        str | None,
        typer.Argument(metavar="[TREE]", help="Which one; a repeat then changes nothing."),
    ] = None,
) -> None:
    """Let the tree before the active one serve again. Without TREE a second call undoes the first.

    Example: radgate --stage prod runtime rollback 3f9a1c07d2be
    """
    from admin_cli.runtime.remote import Mount  # noqa: PLC0415
    from admin_cli.runtime.switch import roll_back  # noqa: PLC0415 - keeps --help fast
    from admin_cli.stage import open_stage  # noqa: PLC0415 - keeps --help fast

    console = console_of(context)
    mount = Mount.of_stage(console.stage)
    _renew(console, roll_back(mount, open_stage(console.stage).trail, tree))


def _switch(
    console: Console,
    mount: Mount,
    action: str,
    tree: str,
    apply: Callable[[], dict[str, Any]],
) -> None:
    from admin_cli.runtime.switch import switch  # noqa: PLC0415 - keeps --help fast
    from admin_cli.stage import open_stage  # noqa: PLC0415 - keeps --help fast

    _renew(console, switch(mount, open_stage(console.stage).trail, action, tree, apply))


def _renew(console: Console, answer: dict[str, Any]) -> None:
    """Have processes that began with another tree end, and show the mount."""
    from admin_cli.deploying.deployment import restart  # noqa: PLC0415 - keeps --help fast
    from admin_cli.deploying.fresh_processes import serving  # noqa: PLC0415 - keeps --help fast

    # Also where nothing was switched: a run that was killed has left them as they were.
    restart(console.stage, local_home(), serving(answer), console.info)
    _show_mount(console, answer)


def _target(console: Console, platform: str | None, python: str | None) -> Target:
    """Where functions of the stage run; those of stage local run right here."""
    from admin_cli.runtime import wheels as runtime_wheels  # noqa: PLC0415

    if platform not in {None, "lambda", "native"}:
        raise CliError("a platform is lambda or native")
    if platform == "native" or (platform is None and console.stage == "local"):
        if python is not None:
            raise CliError("--python goes with --platform lambda: here it is this Python")
        return runtime_wheels.native()
    return runtime_wheels.on_lambda(python or runtime_wheels.deployed_python())


def _upload(console: Console, tree: str) -> tuple[int, int]:
    from admin_cli.foundation import read_foundation  # noqa: PLC0415
    from admin_cli.runtime.remote import point_at  # noqa: PLC0415
    from admin_cli.runtime.upload import Upload  # noqa: PLC0415
    from chalicelib import aws  # noqa: PLC0415

    point_at(console.stage)
    work = Upload(aws.s3(), read_foundation(console.stage).BucketName, _home() / tree)
    with console.progress("uploading", work.size) as moved:
        sent = work.run(moved)
    return sent, len(work.manifest.parts)


def _home() -> Path:
    return local_home() / "runtime"


def _last() -> Path:
    return _home() / "last"


def _built(tree: str | None) -> str:
    """The tree that is meant. Raises CliError when it was not built here."""
    if tree is None:
        try:
            return _last().read_text(encoding="utf-8").strip()
        except FileNotFoundError as error:
            raise CliError("nothing was built yet: radgate runtime build") from error
    found = [one.name for one in _home().iterdir()] if _home().is_dir() else []
    return _one_of(tree, found, "built here")


def _one_of(start: str, trees: list[str], where: str) -> str:
    found = [tree for tree in trees if tree.startswith(start)]
    if len(start) < SHORTEST or len(found) != 1:
        raise CliError(f"no one tree {where} begins with {start!r}; give at least six digits")
    return found[0]


def _show(console: Console, made: Build) -> None:
    columns = ("package", "version", "files", "MB")
    rows = [
        (one.name, one.version, one.files, f"{one.bytes / 1e6:.1f}")
        for one in sorted(made.packages, key=lambda one: -one.bytes)
    ]
    console.table(columns, rows)
    console.facts(
        [
            ("tree", made.tree),
            ("for", f"Python {made.python}, {made.platform}"),
            ("files", made.files),
            ("unpacked", f"{made.bytes / 1e6:.0f} MB"),
            ("packed", f"{made.packed_bytes / 1e6:.0f} MB in {made.parts} parts"),
            ("left out", ", ".join(made.left_out) or "nothing"),
        ]
    )


def _show_mount(console: Console, facts: dict[str, Any]) -> None:
    if console.json:
        console.print_json({name: facts[name] for name in ("active", "previous", "trees")})
        return
    roles = {facts["previous"]: "previous", facts["active"]: "active"}
    console.table(
        ("tree", "serves", "python", "files", "MB"),
        [
            (
                one["tree"][:12],
                roles.get(one["tree"], ""),
                one.get("python", ""),
                one.get("files", one.get("error")),
                f"{one['bytes'] / 1e6:.0f}" if "bytes" in one else "",
            )
            for one in facts["trees"]
        ],
    )
