"""`radgate doctor`: drift between the table, API Gateway and the stack."""

from __future__ import annotations

from typing import Annotated

import typer

from admin_cli.console import console_of
from admin_cli.stage import open_stage
from admin_cli.tenants.catalogue import load_plans
from admin_cli.tenants.checkup import Checkup, Finding
from admin_cli.tenants.registry import registry_of
from admin_cli.words import counted


def doctor(
    context: typer.Context,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair what can be repaired, after a question.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Find drift between clients, keys, API Gateway and the stack, each with its repair.

    Exit status 1 when something is left that is not as it should be.

    Example: radgate --stage prod doctor --repair
    """
    console = console_of(context)
    stage = open_stage(console.stage)
    checkup = Checkup(
        registry=registry_of(stage),
        accounts=stage.accounts,
        keyring=stage.keyring,
        gateway=stage.gateway,
        survey=stage.survey,
        trail=stage.trail,
        plans=load_plans(),
        clock=stage.clock,
        table_name=stage.table.name,
        api=(stage.deployment.rest_api_id, stage.deployment.api_stage),
    )
    found = checkup.findings()
    if found and not console.json:
        rows = ((one.subject, one.drift, one.repair) for one in found)
        console.table(("what", "drift", "repair"), rows)
    mendable = [one for one in found if one.act is not None]
    left = found
    if repair and mendable:
        console.confirm(f"Make {counted(len(mendable), 'repair')}?", yes=yes)
        with console.progress("Repairing", len(mendable)) as move:
            for one in mendable:
                checkup.repair(one)
                move(1)
        left = checkup.findings()
    if console.json:
        console.print_json({"found": _views(found), "left": _views(left)})
    elif left:
        console.info(f"{len(left)} of {len(found)} left." if repair else f"{len(found)} found.")
    else:
        console.info("Everything is as it should be.")
    if left:
        raise typer.Exit(1)


def _views(found: list[Finding]) -> list[dict[str, str]]:
    return [{"subject": one.subject, "drift": one.drift, "repair": one.repair} for one in found]
