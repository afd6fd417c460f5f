"""`radgate destroy`: a stage's functions and API, and its data only when that is said."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from admin_cli import emulator
from admin_cli.console import CliError, Console, console_of
from admin_cli.deploying.data_removal import remove_data
from admin_cli.deploying.deploy import alone, show_changes
from admin_cli.deploying.foundation_plan import Change
from admin_cli.deploying.noting import note
from admin_cli.deploying.stage_settings import stage_settings
from admin_cli.deploying.target import Target
from admin_cli.deploying.teardown import remove_functions, stands
from admin_cli.deploying.teardown_plan import REMOVE, destroy_changes
from admin_cli.foundation import (
    STILLBORN,
    delete_stack,
    find_stack,
    read_foundation,
    refuse_emitted,
    stack_name,
)

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_cloudformation.type_defs import StackTypeDef


class Data(StrEnum):
    """What becomes of clients, keys, studies and models."""

    KEEP = "keep"
    DELETE = "delete"


def destroy_command(
    context: typer.Context,
    data: Annotated[
        Data, typer.Option("--data", help="What becomes of clients, keys, studies and models.")
    ] = Data.KEEP,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what goes and what stays; remove nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a stage's functions and API; its data stays, and a deploy brings it back to life.

    With --data delete the data goes too, for good. Run it again after a failure or a kill.

    Example: radgate --stage dev destroy --dry-run
    """
    console = console_of(context)
    stage = console.stage
    settings, home = stage_settings(stage), emulator.local_home()
    if stage == "local":
        emulator.use_local_endpoint()
    with alone(home, stage):
        stack = find_stack(stage)
        if dry_run:
            _show_plan(console, stack, Data.DELETE is data, home)
            return
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
        target = Target(stage, settings, foundation, home)
        functions = tuple(stands(target).functions.values())
        remove_functions(target, console.info)
        if data is Data.DELETE:
            remove_data(stage, foundation, functions, console.info)
    _show(console, removed=True, data=data)


def _show_plan(console: Console, stack: StackTypeDef | None, data: bool, home: Path) -> None:
    stage = console.stage
    changes: list[Change] = []
    if stack is not None:
        refuse_emitted(stage, stack)
        if stack["StackStatus"] in STILLBORN:
            changes = [Change("foundation", REMOVE, f"stack {stack_name(stage)}, never whole")]
        else:
            target = Target(stage, stage_settings(stage), read_foundation(stage), home)
            changes = list(destroy_changes(target, data=data))
    show_changes(console, changes, f"stage {stage} is not deployed")


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
    stage, kept = console.stage, data is Data.KEEP
    if not removed:
        told = f"stage {stage} is not deployed"
    elif kept:
        told = f"stage {stage} is removed; its data is kept"
    else:
        told = f"stage {stage} and its data are removed"
    console.answer({"stage": stage, "removed": removed, "data_kept": kept}, told)
