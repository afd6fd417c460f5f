"""`radgate usage`: what clients used and what it costs, from the exact ledger."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from admin_cli.console import console_of
from admin_cli.stage import open_stage
from admin_cli.tenants.accounts import known_client
from admin_cli.usage.invoicing import Invoice, invoice, totals
from admin_cli.usage.ledger_reading import studies_by_day, terms_at
from admin_cli.usage.views import chart, csv_text, gate_note

if TYPE_CHECKING:
    from admin_cli.console import Console
    from admin_cli.stage import Stage
    from admin_cli.tenants.accounts import FormerClient
    from chalicelib.domain import Client

app = typer.Typer(help="What clients used, and what it costs.", no_args_is_help=True)

ClientOption = Annotated[
    str | None, typer.Option("--client", metavar="CLIENT", help="Only this client.")
]


# The most days that one GetUsage takes.
GATEWAY_DAYS = 90


class Form(StrEnum):
    """The form of a report."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


FormOption = Annotated[Form, typer.Option("--format", help="Table, or a file for other programs.")]


def parse_day(text: str) -> date:
    """Return the day of e.g. ``2026-11-22``."""
    return _sane(text, "a day such as 2026-11-22")


def parse_month(text: str) -> date:
    """Return the first day of e.g. ``2026-11``."""
    return _sane(f"{text}-01", "a month such as 2026-11")


def _sane(text: str, wanted: str) -> date:
    """Return a day of years with which can be reckoned. Raises BadParameter."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(wanted) from None
    if not date(2000, 1, 1) <= day < date(2100, 1, 1):
        raise typer.BadParameter(f"{wanted}, of this century")
    return day


def last_day(month: date) -> date:
    """Return the last day of the month in which a day is."""
    return month.replace(day=monthrange(month.year, month.month)[1])


@app.command()
def report(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    context: typer.Context,
    client: ClientOption = None,
    first: Annotated[
        date | None,
        typer.Option("--from", parser=parse_day, metavar="DAY", help="Default: this month's 1st."),
    ] = None,
    last: Annotated[
        date | None,
        typer.Option("--to", parser=parse_day, metavar="DAY", help="Default: today, in UTC."),
    ] = None,
    form: FormOption = Form.TABLE,
    reconcile: Annotated[
        bool, typer.Option("--reconcile", help="Compare with the requests API Gateway counted.")
    ] = False,
) -> None:
    """Show the live studies of each client and day, from the ledger that also holds the quota.

    Example: radgate usage report --from 2026-11-01 --to 2026-11-30 --format csv
    """
    console = console_of(context)
    form = _form(console, form)
    stage = open_stage(console.stage)
    today = datetime.now(UTC).date()
    asked = last is not None
    last = last or today
    first = first or last.replace(day=1)
    if first > last:
        raise typer.BadParameter("the first day is after the last", param_hint="--from")
    clients = _clients(stage, client)
    if reconcile and (last - first).days >= GATEWAY_DAYS:
        raise typer.BadParameter(
            f"API Gateway tells of at most {GATEWAY_DAYS} days at once", param_hint="--from"
        )
    used = {one.id: studies_by_day(stage.table, one.id, first, last) for one in clients}
    if reconcile:
        settled = last if asked else min(last, today - timedelta(days=1))
        _reconcile(console, form, stage, clients, first, settled)
        return
    rows = [
        {"client": name, "day": day.isoformat(), "studies": count}
        for name, days in used.items()
        for day, count in days.items()
    ]
    if form is Form.JSON:
        console.print_json(rows)
    elif form is Form.CSV:
        console.print(csv_text(("client", "day", "studies"), rows))
    else:
        console.table(
            ("client", "studies"), ((name, f"{sum(d.values()):,}") for name, d in used.items())
        )
        for line in chart(used, first, last):
            console.print(line)


@app.command("invoice")
def invoices(
    context: typer.Context,
    month: Annotated[
        date, typer.Option(parser=parse_month, metavar="MONTH", help="Such as 2026-11, in UTC.")
    ],
    client: ClientOption = None,
    form: FormOption = Form.TABLE,
) -> None:
    """Show what each client owes for a month: its plan's price and what went beyond it.

    The plan is the one that the client had when the month ended, or when it left.

    Example: radgate usage invoice --month 2026-11 --format csv
    """
    console = console_of(context)
    form = _form(console, form)
    last, today = last_day(month), datetime.now(UTC).date()
    if month > today:
        raise typer.BadParameter(f"{month:%Y-%m} has not begun, in UTC", param_hint="--month")
    stage = open_stage(console.stage)
    found = [
        made
        for one in _clients(stage, client)
        if (made := _invoice(stage, one, month, last)) is not None
    ]
    if last >= today:
        console.info(f"{month:%Y-%m} is not over: the figures are those until now.")
    sums = totals(found)
    if form is Form.JSON:
        console.print_json({"invoices": found, "totals": sums})
    elif form is Form.CSV:
        rows = [one.model_dump(mode="json") for one in found]
        console.print(csv_text(tuple(Invoice.model_fields), rows))
    else:
        console.table(
            ("client", "plan", "studies", "base", "beyond", "amount", "total"),
            (
                (
                    *(one.client_id, one.plan, f"{one.studies:,}", f"{one.base:,}"),
                    f"{one.overage_studies:,} x {one.overage_price}",
                    *(f"{one.overage_amount:,}", f"{one.total:,} {one.currency}"),
                )
                for one in found
            ),
        )
        for currency, total in sums.items():
            console.print(f"Total {total:,} {currency}")


def _invoice(
    stage: Stage, client: Client | FormerClient, first: date, last: date
) -> Invoice | None:
    """Return a client's invoice of the month; None when it was not there or its plan is free."""
    end = datetime.combine(last, time.max, UTC)
    left = getattr(client, "deleted_at", None)
    if client.created_at > end or (left is not None and left.date() < first):
        return None
    plan = terms_at(stage.table, client.id, end) or client.plan
    studies = sum(studies_by_day(stage.table, client.id, first, last).values())
    return invoice(client.id, client.name, f"{first:%Y-%m}", plan, studies)


def _clients(stage: Stage, client_id: str | None) -> list[Client | FormerClient]:
    """Return all clients, those that left too, or the one. Raises CliError when it never was."""
    accounts = stage.accounts
    if client_id is not None:
        return [known_client(accounts, client_id)]
    return sorted([*accounts.clients(), *accounts.formers()], key=lambda one: one.id)


def _form(console: Console, form: Form) -> Form:
    if not console.json:
        return form
    if form is Form.CSV:
        raise typer.BadParameter("--output json and CSV exclude each other", param_hint="--format")
    return Form.JSON


def _reconcile(  # noqa: PLR0913, PLR0917 - one caller, which has all of them
    console: Console,
    form: Form,
    stage: Stage,
    clients: list[Client | FormerClient],
    first: date,
    last: date,
) -> None:
    """Compare the ledger's studies with API Gateway's requests, day for day of the same days."""
    rows = []
    for client in clients:
        plan = getattr(client, "usage_plan_id", None)
        requests = (
            None if plan is None or first > last else stage.gateway.requests(plan, first, last)
        )
        studies = sum(studies_by_day(stage.table, client.id, first, last).values())
        rows.append(
            {
                "client": client.id,
                "studies": studies,
                "requests": requests,
                "note": gate_note(studies, requests),
            }
        )
    if form is Form.JSON:
        console.print_json(rows)
    elif form is Form.CSV:
        console.print(csv_text(("client", "studies", "requests", "note"), rows))
    else:
        console.table(("client", "studies", "requests", "note"), (tuple(r.values()) for r in rows))
    today = datetime.now(UTC).date()
    console.info(
        "API Gateway's figures lag by half an hour and are best effort: "
        + (
            "those of today may still be short."
            if last >= today
            else "today is left out, unless --to names it."
        )
    )
