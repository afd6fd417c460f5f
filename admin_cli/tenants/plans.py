"""`radgate plans`: the catalogue of what clients can buy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from admin_cli.console import CliError, console_of
from admin_cli.stage import open_stage
from admin_cli.tenants.catalogue import load_plans
from admin_cli.tenants.reconciling import apply as apply_all
from admin_cli.tenants.reconciling import differences
from admin_cli.tenants.registry import registry_of
from admin_cli.words import counted

if TYPE_CHECKING:
    from chalicelib.domain import Price, Quota

app = typer.Typer(help="The catalogue of what clients can buy.", no_args_is_help=True)


@app.command("list")
def list_plans(context: typer.Context) -> None:
    """List the plans of plans.toml, in its order.

    Example: radgate plans list
    """
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
                    f"{plan.studies.limit:,}/{plan.studies.period}",
                    f"{plan.requests.limit:,}/{plan.requests.period}",
                    f"{plan.throttle.rate_per_second:g}",
                    plan.throttle.burst,
                )
                for plan in plans
            ),
        )


@app.command()
def apply(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the differences and change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Give every client the terms that its plan has in plans.toml now, in both places.

    Keeps below the limits of API Gateway's control plane, which allow a change of one usage plan
    in 20 seconds. A run that ended early is taken up by the next.

    Example: radgate --stage prod plans apply --dry-run
    """
    console = console_of(context)
    stage = open_stage(console.stage)
    registry = registry_of(stage)
    wanted = differences(registry, stage.gateway, load_plans())
    if not console.json and wanted:
        lines = ((one.client_id, one.plan, "; ".join(one.changes)) for one in wanted)
        console.table(("client", "plan", "changes"), lines)
    if wanted and not dry_run:
        console.confirm(f"Change the terms of {counted(len(wanted), 'client')}?", yes=yes)
        with console.progress("Applying plans", len(wanted)) as move:
            apply_all(registry, wanted, lambda: move(1))
    if console.json:
        console.print_json({"applied": not dry_run, "differences": wanted})
    else:
        verb = "to be changed" if dry_run else "changed"
        console.info(f"{counted(len(wanted), 'client')} {verb}." if wanted else "Nothing differs.")


@app.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The plan's name.")],
) -> None:
    """Show one plan of plans.toml.

    Example: radgate plans show clinic
    """
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
            ("price", _price(plan.price)),
        )
    )


def _per(quota: Quota) -> str:
    return f"{quota.limit:,} per {quota.period}"


def _price(price: Price | None) -> str:
    if price is None:
        return "not invoiced"
    return (
        f"{price.monthly} {price.currency} a month for {price.included:,} studies,"
        f" then {price.overage} each"
    )
