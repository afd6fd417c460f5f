"""`radgate clients`: the organisations that may use the API."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from admin_cli.console import console_of
from admin_cli.tenants.details import (  # noqa: TC001 - typer reads the annotations
    EmailOption,
    NameOption,
    NewClientId,
    NewEmailOption,
    NewNameOption,
)
from admin_cli.tenants.key_views import key_view, state_of
from admin_cli.tenants.keys import parse_duration
from admin_cli.tenants.registry import open_registry
from admin_cli.tenants.removal import open_removal
from admin_cli.words import counted
from chalicelib.domain import GatePolicy  # noqa: TC001 - typer reads the annotation

if TYPE_CHECKING:
    from chalicelib.domain import ApiKey, Client, Quota

app = typer.Typer(help="The organisations that may use the API.", no_args_is_help=True)

Switch = Literal["on", "off"]
ClientArgument = Annotated[str, typer.Argument(metavar="CLIENT", help="The client's id.")]


def parse_retention(text: str) -> timedelta:
    """Return the time of e.g. ``30d`` or ``4w``: whole days, from one to 365."""
    kept = parse_duration(text)
    if kept % timedelta(days=1) or kept > timedelta(days=365):
        raise typer.BadParameter("whole days, such as 30d or 4w, and at most 365 of them")
    return kept


RetentionOption = Annotated[
    timedelta | None,
    typer.Option(
        parser=parse_retention,
        metavar="DURATION",
        help="After so long a study's image, report and findings are erased; 1d to 365d.",
    ),
]


@app.command()
def create(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    context: typer.Context,
    client_id: NewClientId,
    name: NameOption,
    email: EmailOption,
    plan: Annotated[str, typer.Option(help="A plan of the catalogue, see `plans list`.")],
    mail: Annotated[Switch, typer.Option(help="Whether to mail when a queued study ends.")] = "off",
    retention: RetentionOption = None,
) -> None:
    """Create a client and its API Gateway usage plan.

    Run it again after a failure: it goes on where it stopped. A client that is there already
    with the same name, e-mail and plan is shown and left alone.

    Example: radgate clients create acme --name "Acme Radiology" --email it@acme.example
    --plan clinic
    """
    console = console_of(context)
    client = open_registry(console.stage).create_client(
        client_id, name, email, plan, mail=mail == "on", retention_days=_days(retention)
    )
    if console.json:
        console.print_json(client)
    else:
        console.print(f"Client {client.id} is on plan {client.plan.name}.")
        console.info(f"Next: radgate --stage {console.stage} keys issue {client.id}")


@app.command("list")
def list_clients(context: typer.Context) -> None:
    """List all clients by id.

    Example: radgate --stage prod --output json clients list
    """
    console = console_of(context)
    clients = open_registry(console.stage).clients()
    if console.json:
        console.print_json(clients)
    else:
        console.table(
            ("id", "name", "plan", "status", "created"),
            ((one.id, one.name, one.plan.name, one.status, _date(one)) for one in clients),
        )


@app.command()
def show(context: typer.Context, client: ClientArgument) -> None:
    """Show a client, its plan and its keys without their secrets; of those that ended, the last 20.

    Example: radgate clients show acme
    """
    console = console_of(context)
    registry = open_registry(console.stage)
    found, keys = registry.client(client), registry.latest_keys(client)
    if console.json:
        console.print_json(found.model_dump() | {"keys": [key_view(key) for key in keys]})
        return
    throttle = found.plan.throttle
    console.facts(
        (
            ("id", found.id),
            ("name", found.name),
            ("e-mail", found.email),
            ("status", found.status),
            ("created", _date(found)),
            ("plan", found.plan.name),
            ("studies", _per(found.plan.studies)),
            ("requests", f"{_per(found.plan.requests)} and key"),
            ("throttle", f"{throttle.rate_per_second:g} per second, bursts of {throttle.burst}"),
            ("gate policy", found.gate_policy),
            ("retention", f"{found.retention_days} days"),
            ("mail", "on" if found.mail else "off"),
            ("webhook", found.webhook or "none"),
            ("usage plan", found.usage_plan_id or "not made yet: run `clients create` again"),
            *(fact for key in keys for fact in _told(key)),
        )
    )


@app.command()
def update(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    context: typer.Context,
    client: ClientArgument,
    name: NewNameOption = None,
    email: NewEmailOption = None,
    plan: Annotated[
        str | None, typer.Option(help="A plan of the catalogue; its terms as they are now.")
    ] = None,
    gate_policy: Annotated[
        GatePolicy | None,
        typer.Option(help="Refuse images that are no frontal chest X-ray, or only warn."),
    ] = None,
    mail: Annotated[
        Switch | None, typer.Option(help="Whether to mail when a queued study ends.")
    ] = None,
    retention: RetentionOption = None,
) -> None:
    """Change what is given of a client. Without options it only mends its usage plan.

    Example: radgate clients update acme --plan hospital
    """
    console = console_of(context)
    updated = open_registry(console.stage).update_client(
        client,
        name,
        email,
        plan,
        gate_policy,
        mail=None if mail is None else mail == "on",
        retention_days=_days(retention),
    )
    if console.json:
        console.print_json(updated)
    else:
        console.print(f"Client {client} is {updated.name}, on plan {updated.plan.name}.")


@app.command()
def delete(
    context: typer.Context,
    client: ClientArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would go, and change nothing.")
    ] = False,
) -> None:
    """Delete a client for good: its studies, objects, keys and usage plan.

    The ledger of its usage and the audit trail stay, and its id is never given again. A run that
    failed is finished by the next; a client that is deleted already is no error.

    Example: radgate clients delete acme --dry-run
    """
    console = console_of(context)
    removal = open_removal(console)
    if dry_run:
        counts = removal.count(client)
        if console.json:
            console.print_json({"client": client, "would_erase": counts})
        else:
            console.print(f"Client {client}: {_counted(counts)} would be erased.")
        return
    if removal.former(client) is None:
        counts = removal.count(client)
        console.confirm(f"Erase {_counted(counts)} of client {client} for good?", yes=yes)
    former = removal.remove(client)
    if console.json:
        console.print_json(former)
    else:
        console.print(f"Client {client} was deleted on {former.deleted_at:%Y-%m-%d}.")


@app.command()
def suspend(context: typer.Context, client: ClientArgument) -> None:
    """Pause a client: its keys are refused within 30 seconds. Twice is no error.

    Example: radgate clients suspend acme
    """
    console = console_of(context)
    suspended = open_registry(console.stage).suspend(client)
    if console.json:
        console.print_json(suspended)
    else:
        console.print(f"Client {client} is suspended; its keys are refused within 30 seconds.")


@app.command()
def resume(context: typer.Context, client: ClientArgument) -> None:
    """Let a suspended client in again, within 30 seconds. Twice is no error.

    Example: radgate clients resume acme
    """
    console = console_of(context)
    resumed = open_registry(console.stage).resume(client)
    if console.json:
        console.print_json(resumed)
    else:
        console.print(f"Client {client} is active; its keys work again within 30 seconds.")


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(counted(count, what.removesuffix("s"), what) for what, count in counts.items())


def _days(retention: timedelta | None) -> int | None:
    return None if retention is None else retention.days


def _date(client: Client) -> str:
    return f"{client.created_at:%Y-%m-%d}"


def _per(quota: Quota) -> str:
    return f"{quota.limit:,} per {quota.period}"


def _told(key: ApiKey) -> tuple[tuple[str, str], ...]:
    used = key.last_used_at
    last = "never used" if used is None else f"last used {used:%Y-%m-%d %H:%M}"
    return ("key", f"{key.id}  {key.hint}  {state_of(key)}"), ("", last)
