"""`radgate studies`: what the operator may do with studies."""

from __future__ import annotations

from typing import Annotated

import typer

from admin_cli.console import CliError, console_of
from admin_cli.queue.dead_letters import open_dead_letters

app = typer.Typer(help="Queued studies that failed.", no_args_is_help=True)
dlq = typer.Typer(help="Studies that failed through our own fault.", no_args_is_help=True)
app.add_typer(dlq, name="dlq")


@dlq.command("list")
def list_letters(context: typer.Context) -> None:
    """List the dead letters: study, client, attempts, when it failed and why.

    Example: radgate --stage prod studies dlq list
    """
    console = console_of(context)
    letters = open_dead_letters(console.stage).letters()
    if console.json:
        console.print_json(letters)
        return
    console.table(
        ("study", "client", "attempts", "failed", "why"),
        (
            (
                one.study or one.message_id,
                one.client,
                one.attempts or "",
                f"{one.at:%Y-%m-%d %H:%M}" if one.at else "",
                one.why,
            )
            for one in letters
        ),
    )


@dlq.command()
def redrive(
    context: typer.Context,
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="The failed study's id.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """Queue failed studies anew, while their bytes are there, and remove their dead letters.

    A failed study stays failed: a new one with another id is made of the same bytes, and metered.

    Example: radgate studies dlq redrive --all
    """
    if (study is None) != everything:
        raise typer.BadParameter("give a study or --all")
    console = console_of(context)
    done = open_dead_letters(console.stage).redrive(study)
    if console.json:
        console.print_json(done)
    else:
        console.table(
            ("study", "queued as", "result"),
            ((one.study, one.queued or "", one.told) for one in done),
        )
    if study is not None and not any(one.queued for one in done):
        raise CliError(f"study {study} was not queued anew: {done[0].told}")
