"""`radgate plans`: the catalogue of what clients can buy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from admin_cli.catalogue import load_plans
from admin_cli.console import CliError, console_of

if TYPE_CHECKING:
    from chalicelib.domain import Quota

app = typer.Typer(help="The catalogue of what clients can buy.", no_args_is_help=True)


@app.command("list")
def list_plans(context: typer.Context) -> None:
    """List the plans of plans.toml, in its order."""
    console = console_of(context)
    plans = load_plans().values()
    if console.json:
        console.print_json(list(plans))
    else:
        console.table(
            ("name", "title", "studies", "requests", "per second", "burst"),
            (
                (
                    plan.name,
                    plan.title,
                    _per(plan.studies),
                    _per(plan.requests),
                    f"{plan.throttle.rate_per_second:g}",
                    plan.throttle.burst,
                )
                for plan in plans
            ),
        )


@app.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The plan's name.")],
) -> None:
    """Show one plan of plans.toml."""
    console = console_of(context)
    plans = load_plans()
    if name not in plans:
        raise CliError(f"there is no plan {name}: choose one of {', '.join(plans)}")
    plan = plans[name]
    if console.json:
        console.print_json(plan)
        return
    throttle = plan.throttle
    console.facts(
        (
            ("name", plan.name),
            ("title", plan.title),
            ("studies", f"{_per(plan.studies)}, for all keys of a client together"),
            ("requests", f"{_per(plan.requests)} and key"),
            ("throttle", f"{throttle.rate_per_second:g} per second, bursts of {throttle.burst}"),
        )
    )


def _per(quota: Quota) -> str:
    return f"{quota.limit:,} per {quota.period}"
