"""The command line's root: the global options and the tree of sub-commands."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

import typer

from admin_cli.console import Console
from admin_cli.on_first_use import group_of

# Where each command or group of commands is, in the order of the help.
_COMMANDS = {
    "local": "admin_cli.local.commands:app",
    "clients": "admin_cli.tenants.clients:app",
    "keys": "admin_cli.tenants.keys:app",
    "plans": "admin_cli.tenants.plans:app",
    "models": "admin_cli.models.commands:app",
    "runtime": "admin_cli.runtime.commands:app",
    "audit": "admin_cli.audit:app",
    "studies": "admin_cli.queue.studies:app",
    "usage": "admin_cli.usage.commands:app",
    "webhooks": "admin_cli.tenants.webhooks:app",
    "cost": "admin_cli.cost.commands:cost",
    "doctor": "admin_cli.tenants.doctor:doctor",
    "deploy": "admin_cli.deploying.deploy:deploy_command",
    "destroy": "admin_cli.deploying.destroy:destroy_command",
}
# What a stage may be called: it becomes part of names of stacks, tables and usage plans.
_STAGE = re.compile(r"[a-z][a-z0-9]{1,15}")


class Output(StrEnum):
    """The form of a result."""

    TABLE = "table"
    JSON = "json"


app = typer.Typer(
    name="radgate",
    cls=group_of(_COMMANDS),
    help="Run Radgate: the local AWS, clients, their keys and plans.",
    no_args_is_help=True,
    # A traceback with local variables could show a key.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _stage(name: str) -> str:
    if not _STAGE.fullmatch(name):
        raise typer.BadParameter("2 to 16 lower-case letters and digits, a letter first")
    return name


@app.callback()
def root(
    context: typer.Context,
    stage: Annotated[
        str, typer.Option("--stage", metavar="NAME", callback=_stage, help="Stage to work on.")
    ] = "local",
    output: Annotated[
        Output, typer.Option("--output", help="Form of the result on stdout.")
    ] = Output.TABLE,
) -> None:
    """Run Radgate: the local AWS, clients, their keys and plans."""
    context.obj = Console(stage=stage, json=output is Output.JSON)
