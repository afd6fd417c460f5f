"""`radgate destroy`: a stage's functions and API, and its data only when that is said."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from admin_cli import emulator
from admin_cli.console import CliError, Console, console_of
from admin_cli.deploying.data_removal import remove_data
from admin_cli.deploying.deploy import alone
from admin_cli.deploying.noting import note
from admin_cli.deploying.stage_settings import stage_settings
from admin_cli.deploying.target import Target
from admin_cli.deploying.teardown import remove_functions
from admin_cli.foundation import (
    STILLBORN,
    delete_stack,
    find_stack,
    read_foundation,
    refuse_emitted,
)


class Data(StrEnum):
    """What becomes of clients, keys, studies and models."""

    KEEP = "keep"
    DELETE = "delete"


def destroy_command(
    context: typer.Context,
    data: Annotated[
        Data, typer.Option("--data", help="What becomes of clients, keys, studies and models.")
    ] = Data.KEEP,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a stage's functions and API; its data stays, and a deploy brings it back to life.

    With --data delete the data goes too, for good. Run it again after a failure or a kill.

    Example: radgate --stage dev destroy
    """
    console = console_of(context)
    stage = console.stage
    settings, home = stage_settings(stage), emulator.local_home()
    if stage == "local":
        emulator.use_local_endpoint()
    with alone(home, stage):
        stack = find_stack(stage)
        if stack is None:
            _show(console, removed=False, data=data)
            return
        refuse_emitted(stage, stack)
        _ask(console, data, yes=yes)
        if stack["StackStatus"] in STILLBORN:  # it never held anything
            delete_stack(stage, console.info)
            _show(console, removed=True, data=data)
            return
        foundation = read_foundation(stage)
        note(stage, "stage.destroy", {"data": data.value})
        remove_functions(Target(stage, settings, foundation, home), console.info)
        if data is Data.DELETE:
            remove_data(stage, foundation, console.info)
    _show(console, removed=True, data=data)


def _ask(console: Console, data: Data, *, yes: bool) -> None:
    """Have the stage's name typed, because a y is typed before one has read the question."""
    if yes:
        return
    what = "functions and API" if data is Data.KEEP else "functions, API and ALL DATA"
    if not console.interactive:
        raise CliError(f"Remove {what} of {console.stage}? Nobody is there to answer: give --yes")
    question = f"This removes {what} of stage {console.stage}. Type the stage's name"
    if typer.prompt(question, err=True) != console.stage:
        raise CliError("that is not the stage's name: nothing was removed")


def _show(console: Console, *, removed: bool, data: Data) -> None:
    if console.json:
        kept = data is Data.KEEP
        console.print_json({"stage": console.stage, "removed": removed, "data_kept": kept})
    elif not removed:
        console.print(f"stage {console.stage} is not deployed")
    elif data is Data.KEEP:
        console.print(f"stage {console.stage} is removed; its data is kept")
    else:
        console.print(f"stage {console.stage} and its data are removed")
