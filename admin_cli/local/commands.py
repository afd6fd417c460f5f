"""The commands of ``radgate local``: a whole Radgate on this machine."""

from __future__ import annotations

import os
import shlex
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Annotated

import typer

from admin_cli import emulator
from admin_cli.console import CliError, Console, console_of
from admin_cli.local.endings import Ended, deafen, ending_signals
from admin_cli.local.stack import STAGE, State, bring_down, bring_up, read_state, wipe

app = typer.Typer(help="Run everything on this machine, on a local AWS.", no_args_is_help=True)


@app.command()
def up(
    context: typer.Context,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running and return.")] = False,
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65535, help="Port of the local AWS; another if taken."),
    ] = None,
) -> None:
    """Start the local AWS, deploy everything to it, make a demo client and key.

    Example: radgate local up --detach
    """
    console, home = _local(context)
    with ending_signals():
        if detach or emulator.running(home) is not None:
            try:
                _show(console, bring_up(home, port, console.info))
            except Ended:
                raise typer.Abort from None
            if not detach:
                console.info("It was running already; end it with `radgate local down`.")
            return
        read_end, write_end = os.pipe()
        try:
            _show(console, bring_up(home, port, console.info, lifeline=read_end))
            os.close(read_end)
            console.info("Serving until Ctrl-C.")
            while emulator.running(home) is not None:
                time.sleep(0.2)
            state = read_state(home)
            if state is not None and state.pid is not None:  # else `radgate local down` ended it
                raise CliError(f"the local AWS ended by itself; see {home}/emulator/emulator.log")
        except Ended:
            console.info("Stopping.")
        finally:
            deafen()
            bring_down(home)
            os.close(write_end)


@app.command()
def down(context: typer.Context) -> None:
    """Stop the local AWS. Clients, keys, studies and reports stay for the next start.

    Example: radgate local down
    """
    console, home = _local(context)
    stopped = bring_down(home)
    console.answer({"stopped": stopped}, "stopped" if stopped else "nothing was running")


@app.command()
def status(context: typer.Context) -> None:
    """Say whether the local AWS runs, and where.

    Example: radgate local status
    """
    console, home = _local(context)
    found = emulator.running(home)
    state = read_state(home)
    facts = {
        "running": found is not None,
        "pid": found.pid if found else None,
        "aws_url": found.url if found else None,
        "api_url": state.api_url if found and state else None,
        "client_id": state.client_id if state else None,
        "home": str(home),
    }
    if console.json:
        console.print_json(facts)
    else:
        console.facts(facts.items())


@app.command()
def reset(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop the local AWS and delete its clients, keys, studies and reports.

    Example: radgate local reset --yes
    """
    console, home = _local(context)
    console.confirm(f"Delete all clients, keys, studies and reports under {home}?", yes=yes)
    wipe(home)
    console.answer({"reset": True}, "all local state is gone")


def _local(context: typer.Context) -> tuple[Console, Path]:
    console = console_of(context)
    if console.stage != STAGE:
        raise CliError(f"`radgate local` works on stage {STAGE}, not {console.stage}")
    return console, emulator.local_home()


def _show(console: Console, state: State) -> None:
    if console.json:
        wanted = ("api_url", "aws_url", "client_id", "api_key", "pid")
        console.print_json({name: asdict(state)[name] for name in wanted})
        return
    console.facts(asdict(state).items())
    console.print(f"\nIn a browser, with that key: {state.api_url}/")
    console.print("\nAnalyse a radiograph:\n")
    console.print(_curl(state))


def _curl(state: State) -> str:
    """A command that works when pasted: with a real radiograph where pydicom-data is installed."""
    return " ".join(
        [
            "curl --request POST",
            f"--header {shlex.quote(f'x-api-key: {state.api_key}')}",
            "--header 'Content-Type: application/dicom'",
            f"--upload-file {shlex.quote(str(sample() or 'xray.dcm'))}",
            f"{state.api_url}/xray",
        ]
    )


def sample() -> Path | None:
    """The chest radiograph of pydicom-data, a development dependency; None without it."""
    try:
        shipped = files("pydicom-data") or []
    except PackageNotFoundError:
        return None
    found = [file for file in shipped if file.name == "RG1_J2KI.dcm"]
    return Path(str(found[0].locate())) if found else None
