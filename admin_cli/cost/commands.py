"""`radgate cost`: what a month costs at AWS, by a dated price file."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path  # noqa: TC003 - typer reads the annotation at run time
from typing import TYPE_CHECKING, Annotated

import typer

from admin_cli.console import console_of
from admin_cli.cost.compare import WAYS, compare, crossovers
from admin_cli.cost.model import nat_instead, serverless
from admin_cli.cost.prices import load_prices
from admin_cli.cost.work import Workload

if TYPE_CHECKING:
    from admin_cli.console import Console
    from admin_cli.cost.compare import Crossover
    from admin_cli.cost.prices import Prices

_CENT = Decimal("0.01")
_TENTH = Decimal("0.001")
DEFAULT = Workload()


def _number(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter("a number such as 0.7") from None
    if not value.is_finite() or value < 0:
        raise typer.BadParameter("a number of 0 or more")
    return value


def _percent(text: str) -> Decimal:
    value = _number(text)
    if value > 100:  # noqa: PLR2004 - per cent
        raise typer.BadParameter("at most 100")
    return value


def _times(text: str) -> Decimal:
    value = _number(text)
    if value < 1:
        raise typer.BadParameter("the busiest hour has at least the average: 1 or more")
    return value


def cost(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    context: typer.Context,
    studies: Annotated[
        int, typer.Option("--studies", min=1, max=10**9, help="Studies a month.")
    ] = DEFAULT.studies,
    memory: Annotated[
        int, typer.Option("--memory", min=128, max=10240, metavar="MB", help="Of a function.")
    ] = DEFAULT.memory_mb,
    latency: Annotated[
        int, typer.Option("--latency", min=1, metavar="MS", help="Of a study, warm.")
    ] = DEFAULT.latency_ms,
    image_mb: Annotated[
        Decimal, typer.Option("--image-mb", parser=_number, metavar="MB", help="Of an image.")
    ] = DEFAULT.image_mb,
    retention: Annotated[
        int, typer.Option("--retention", min=1, max=365, metavar="DAYS", help="Of a study.")
    ] = DEFAULT.retention_days,
    looks: Annotated[
        int, typer.Option("--looks", min=0, max=1000, help="Later requests for each study.")
    ] = DEFAULT.looks,
    queued: Annotated[
        Decimal, typer.Option("--queued", parser=_percent, metavar="PERCENT", help="By the queue.")
    ] = DEFAULT.queued_percent,
    cold: Annotated[
        Decimal | None,
        typer.Option(
            "--cold", parser=_percent, metavar="PERCENT", help="Cold starts. Default: estimated."
        ),
    ] = DEFAULT.cold_percent,
    clients: Annotated[
        int, typer.Option("--clients", min=1, help="Clients that are active.")
    ] = DEFAULT.clients,
    peak: Annotated[
        Decimal,
        typer.Option("--peak", parser=_times, metavar="TIMES", help="Busiest hour by average."),
    ] = DEFAULT.peak,
    provisioned: Annotated[
        int, typer.Option("--provisioned", min=0, help="Functions kept warm.")
    ] = DEFAULT.provisioned,
    prices: Annotated[
        Path | None, typer.Option("--prices", metavar="FILE", help="Other prices.")
    ] = None,
) -> None:
    """Estimate a month's bill of AWS, and compare it with other ways to run the model.

    Example: radgate cost --studies 20000 --queued 50
    """
    console = console_of(context)
    work = Workload(
        studies=studies,
        looks=looks,
        memory_mb=memory,
        latency_ms=latency,
        image_mb=image_mb,
        retention_days=retention,
        queued_percent=queued,
        cold_percent=cold,
        clients=clients,
        peak=peak,
        provisioned=provisioned,
    )
    asked = load_prices(prices)
    if console.json:
        console.print_json(_document(work, asked))
    else:
        _show(console, work, asked)


def _document(work: Workload, prices: Prices) -> dict[str, object]:
    """Return the estimate as plain data; amounts are text, rounded to a tenth of a cent."""
    bill = serverless(work, prices)
    return {
        "currency": prices.currency,
        "region": prices.region,
        "prices_of": prices.date,
        "studies": work.studies,
        "items": [
            {"name": i.name, "basis": i.basis, "amount": str(i.amount.quantize(_TENTH))}
            for i in bill.items
        ],
        "total": str(bill.total.quantize(_TENTH)),
        "per_study": str((bill.total / work.studies).quantize(Decimal("0.000001"))),
        "comparison": [
            {
                "studies": one.studies,
                "totals": {name: str(total.quantize(_CENT)) for name, total in one.totals.items()},
            }
            for one in compare(work, prices)
        ],
        "crossovers": [
            {"studies": one.studies, "below": one.until_there, "from_there_on": one.from_there}
            for one in crossovers(work, prices)
        ],
        "nat_instead_of_endpoints": str(nat_instead(prices).quantize(_CENT)),
        "assumed_prices": prices.assumed(),
    }


def _show(console: Console, work: Workload, prices: Prices) -> None:
    bill = serverless(work, prices)
    rows = [(i.name, i.basis, f"{i.amount:,.2f}") for i in bill.items]
    console.table(("item", "of", prices.currency), [*rows, ("Total", "", f"{bill.total:,.2f}")])
    console.table(
        ("studies a month", *WAYS),
        (
            (f"{one.studies:,}", *(f"{one.totals[name]:,.2f}" for name in WAYS))
            for one in compare(work, prices)
        ),
    )
    for one in crossovers(work, prices):
        console.print(_told(one))
    console.print(
        f"NAT gateways instead of interface endpoints: {nat_instead(prices):,.2f}"
        f" {prices.currency} a month before traffic."
    )
    console.print(
        f"Prices of {prices.region} on {prices.date}, without free tiers and taxes."
        f" Assumed, to be confirmed: {', '.join(prices.assumed()) or 'none'}."
    )


def _told(one: Crossover) -> str:
    if one.studies is None:
        return f"{one.until_there} costs less than {one.from_there} at any volume."
    return f"{one.until_there} costs less than {one.from_there} below {one.studies:,} studies."
