"""The command line's root: the global options and the tree of sub-commands."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

import typer

from admin_cli import audit
from admin_cli.console import Console
from admin_cli.cost.commands import cost
from admin_cli.deploying.deploy import deploy_command
from admin_cli.deploying.destroy import destroy_command
from admin_cli.local import commands as local
from admin_cli.models import commands as models
from admin_cli.queue import studies
from admin_cli.runtime import commands as runtime
from admin_cli.tenants import clients, keys, plans, webhooks
from admin_cli.tenants.doctor import doctor
from admin_cli.usage import commands as usage

# What a stage may be called: it becomes part of names of stacks, tables and usage plans.
_STAGE = re.compile(r"[a-z][a-z0-9]{1,15}")


class Output(StrEnum):
    """The form of a result."""

    TABLE = "table"
    JSON = "json"


app = typer.Typer(
    name="radgate",
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


app.add_typer(local.app, name="local")
app.add_typer(clients.app, name="clients")
app.add_typer(keys.app, name="keys")
app.add_typer(plans.app, name="plans")
app.add_typer(models.app, name="models")
app.add_typer(runtime.app, name="runtime")
app.add_typer(audit.app, name="audit")
app.add_typer(studies.app, name="studies")
app.add_typer(usage.app, name="usage")
app.add_typer(webhooks.app, name="webhooks")
app.command()(cost)
app.command()(doctor)
app.command("deploy")(deploy_command)
app.command("destroy")(destroy_command)
