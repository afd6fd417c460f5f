"""`radgate webhooks`: where a client's events go, what signs them, and what became of each."""

from __future__ import annotations

from datetime import timedelta  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer

from admin_cli.console import CliError, console_of
from admin_cli.stage import open_stage
from admin_cli.tenants.keys import parse_duration
from admin_cli.tenants.webhook_events import fares, minute, outcome_of, state
from admin_cli.tenants.webhook_registry import WebhookRegistry
from chalicelib import aws
from chalicelib.delivery.outbox import SqsOutbox
from chalicelib.services.delivering import a_test
from chalicelib.tenants.deliveries import DynamoDeliveryStore

if TYPE_CHECKING:
    from admin_cli.stage import Stage

app = typer.Typer(
    help="Where a client's events are posted, signed, and what became of each.",
    no_args_is_help=True,
)
ClientArgument = Annotated[str, typer.Argument(metavar="CLIENT", help="The client's id.")]
SHOWN_ONCE = "Give it to the receiver now: it will not be shown again."


@app.command("set")
def set_webhook(
    context: typer.Context,
    client: ClientArgument,
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Where events are posted: https, a public host.")
    ],
) -> None:
    """Post a client's events to URL; the first time, print the secret that signs them, this once.

    Another URL keeps the secret: rotate it if the former receiver shall not know it any more.

    Example: radgate webhooks set acme https://ris.acme.example/hooks/radgate
    """
    console = console_of(context)
    made = _registry(open_stage(console.stage)).set(client, url)
    if console.json:
        console.print_json({"webhook": made.webhook, "secret": made.secret})
        return
    if made.secret is not None:
        console.print(made.secret)
        console.info(f"It signs the events of client {client}. {SHOWN_ONCE}")
    console.info(f"Events of client {client} go to {url}")


@app.command("list")
def list_webhooks(context: typer.Context) -> None:
    """List the webhooks of all clients and how each fares: on, failing since when, or off.

    Example: radgate webhooks list
    """
    console = console_of(context)
    stage = open_stage(console.stage)
    found = _registry(stage).webhooks(stage.accounts.clients())
    if console.json:
        console.print_json(found)
        return
    console.table(("client", "url", "state"), ((one.client, one.url, fares(one)) for one in found))


@app.command()
def resume(context: typer.Context, client: ClientArgument) -> None:
    """Post a client's events again, after its webhook was switched off. Twice is no error.

    What was given up meanwhile is not posted any more.

    Example: radgate webhooks resume acme
    """
    console = console_of(context)
    resumed = _registry(open_stage(console.stage)).resume(client)
    if console.json:
        console.print_json({"client": client, "resumed": resumed})
    else:
        console.print(f"The webhook of client {client} is on{'' if resumed else ', and was'}.")


@app.command()
def show(context: typer.Context, client: ClientArgument) -> None:
    """Show a client's webhook, without its secret, and how it fares.

    Example: radgate webhooks show acme
    """
    console = console_of(context)
    webhook = _registry(open_stage(console.stage)).webhook(client)
    if console.json:
        console.print_json(webhook)
        return
    until = webhook.rotating_until
    signed = "with one secret" if until is None else f"with two secrets until {minute(until)}"
    facts = (("client", client), ("url", webhook.url), ("signed", signed))
    console.facts((*facts, ("state", fares(webhook))))


@app.command()
def rotate(
    context: typer.Context,
    client: ClientArgument,
    overlap: Annotated[
        timedelta,
        typer.Option(
            parser=parse_duration,
            metavar="DURATION",
            help="How long the old secret signs as well, such as 30m, 24h or 7d.",
        ),
    ] = "24h",  # type: ignore[assignment]
) -> None:
    """Make a new signing secret and print it, this once; the old one signs as well for a while.

    Example: radgate webhooks rotate acme --overlap 24h
    """
    console = console_of(context)
    made = _registry(open_stage(console.stage)).rotate(client, overlap)
    if console.json:
        console.print_json({"webhook": made.webhook, "secret": made.secret})
        return
    console.print(str(made.secret))
    until = made.webhook.rotating_until
    if until is not None:
        console.info(f"The old secret signs as well until {minute(until)}. {SHOWN_ONCE}")


@app.command()
def remove(
    context: typer.Context,
    client: ClientArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Post a client's events nowhere any more and forget its secrets. Twice is no error.

    Example: radgate webhooks remove acme
    """
    console = console_of(context)
    console.confirm(f"Forget the webhook of client {client} and its secrets?", yes=yes)
    removed = _registry(open_stage(console.stage)).remove(client)
    if console.json:
        console.print_json({"client": client, "removed": removed})
    else:
        console.print(f"Client {client} has no webhook{'' if removed else ', and had none'}.")


@app.command()
def test(context: typer.Context, client: ClientArgument) -> None:
    """Post a signed test event on the way that all events take, and say what became of it.

    Exit status 1 when the receiver does not take it.

    Example: radgate webhooks test acme
    """
    console = console_of(context)
    stage = open_stage(console.stage)
    _registry(stage).webhook(client)  # raises where there is none
    outbox = SqsOutbox(aws.sqs(), stage.foundation.DeliveryQueueUrl, stage.clock)
    delivery = a_test(client, "webhook", stage.clock())
    ended = outcome_of(delivery, DynamoDeliveryStore(stage.table), outbox)
    if ended.status != "delivered":
        raise CliError(f"event {ended.id} was not delivered: {ended.last_error}")
    if console.json:
        console.print_json(ended)
    else:
        console.print(f"Event {ended.id} was delivered.")


@app.command()
def log(
    context: typer.Context,
    client: ClientArgument,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
) -> None:
    """List a client's webhooks and mails of the last 30 days, the newest event first.

    Example: radgate webhooks log acme --limit 10
    """
    console = console_of(context)
    stage = open_stage(console.stage)
    found = DynamoDeliveryStore(stage.table).log(client, limit)
    if console.json:
        console.print_json(found)
        return
    for one in found:
        what = f"{one.channel:7}  {one.kind}  {one.study_id or ''}".rstrip()
        console.print(f"{minute(one.created_at)}  {what}")
        console.print(f"    {one.id}  {state(one)}")


def _registry(stage: Stage) -> WebhookRegistry:
    return WebhookRegistry(stage.table, stage.trail, stage.clock, loopback=stage.name == "local")
