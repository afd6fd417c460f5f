"""`radgate keys`: the secrets with which clients use the API."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from admin_cli.console import console_of
from admin_cli.stage import open_stage
from admin_cli.tenants.details import (  # noqa: TC001 - typer reads the annotations
    KeyArgument,
    LabelOption,
)
from admin_cli.tenants.key_views import key_view, state_of
from admin_cli.tenants.probe import is_refused, seconds_until_refused
from admin_cli.tenants.registry import open_registry, registry_of
from admin_cli.tenants.scan import scan
from chalicelib.domain import Scope

if TYPE_CHECKING:
    from admin_cli.console import Console
    from admin_cli.tenants.registry import Registry

app = typer.Typer(help="The secrets with which clients use the API.", no_args_is_help=True)
app.command()(scan)

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=3660)
_PROBE_SECONDS = 90
SHOWN_ONCE = "Keep it now: it is stored only as a hash and will not be shown again."


def parse_duration(text: str) -> timedelta:
    """Return the time of e.g. ``30s``, ``90m``, ``24h``, ``90d`` or ``2w``, at most ten years."""
    found = re.fullmatch(r"([1-9][0-9]{0,6})([smhdw])", text)
    duration = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else _LONGEST * 2
    if duration > _LONGEST:
        raise typer.BadParameter(
            "a whole number with s, m, h, d or w, such as 90d, and at most ten years"
        )
    return duration


@app.command()
def issue(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    context: typer.Context,
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="The client's id.")],
    label: LabelOption = "",
    expires_in: Annotated[
        timedelta | None,
        typer.Option(
            parser=parse_duration,
            metavar="DURATION",
            help="The key's life, such as 12h, 90d or 52w; without it, until revoked.",
        ),
    ] = None,
    scope: Annotated[
        list[Scope] | None,
        typer.Option(help="What the key may do; give it several times. Default: everything."),
    ] = None,
    test: Annotated[
        bool, typer.Option("--test", help="A test key: the whole path, nothing metered.")
    ] = False,
) -> None:
    """Make a key and print its secret, this once.

    Example: radgate keys issue acme --label pacs --expires-in 90d --scope studies:write
    """
    console = console_of(context)
    registry = open_registry(console.stage)
    issued = registry.issue_key(
        client,
        label=label,
        expires_in=expires_in,
        scopes=frozenset(scope or Scope),
        mode="test" if test else "live",
    )
    if console.json:
        console.print_json({"secret": issued.secret} | key_view(issued.key))
    else:
        console.print(issued.secret)
        console.info(f"Key {issued.key.id} of client {client}. {SHOWN_ONCE}")
    _tell_if_suspended(console, registry, client)


@app.command("list")
def list_keys(
    context: typer.Context,
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="The client's id.")],
    every: Annotated[
        bool, typer.Option("--all", help="Also those that ended longer ago than the last 20.")
    ] = False,
) -> None:
    """List a client's keys, oldest first, without their secrets.

    Those that work, and the last 20 of those that were revoked or are filed as expired.

    Example: radgate --stage prod --output json keys list acme --all
    """
    console = console_of(context)
    registry = open_registry(console.stage)
    keys = registry.keys(client) if every else registry.latest_keys(client)
    if console.json:
        console.print_json([key_view(key) for key in keys])
    else:
        console.table(
            ("id", "hint", "label", "state", "expires"),
            ((key.id, key.hint, key.label, state_of(key), _date(key.expires_at)) for key in keys),
        )


@app.command()
def rotate(
    context: typer.Context,
    key_id: KeyArgument,
    overlap: Annotated[
        timedelta,
        typer.Option(
            parser=parse_duration,
            metavar="DURATION",
            help="How long the old key goes on working, such as 30m, 24h or 7d.",
        ),
    ] = "24h",  # type: ignore[assignment]
) -> None:
    """Make a new key like this one and print its secret, this once; the old one works on a while.

    Label, scopes, mode and length of life are the same. The client's quota of studies belongs to
    the client and goes on as it stands. To rotate again during the overlap, give the new key.

    Example: radgate keys rotate key_01JD3Z0V6W8Y2M4N6P8R0T2V4X --overlap 24h
    """
    console = console_of(context)
    registry = open_registry(console.stage)
    rotated = registry.rotate_key(key_id, overlap)
    old = registry.key(key_id)
    if console.json:
        console.print_json(
            {"secret": rotated.secret} | key_view(rotated.key) | {"old": key_view(old)}
        )
    else:
        console.print(rotated.secret)
        console.info(
            f"Key {rotated.key.id} replaces {old.id}, which works until"
            f" {old.expires_at:%Y-%m-%d %H:%M:%S} UTC. {SHOWN_ONCE}"
        )
        console.info("API Gateway may refuse the new key for some seconds: switch over after that.")
    _tell_if_suspended(console, registry, rotated.key.client_id)


@app.command()
def revoke(
    context: typer.Context,
    key_id: KeyArgument,
    wait: Annotated[
        bool, typer.Option("--wait", help="Probe the API until it refuses the key.")
    ] = False,
) -> None:
    """Take a key back for good: it is refused within 30 seconds. Twice is no error.

    Example: radgate keys revoke key_01JD3Z0V6W8Y2M4N6P8R0T2V4X --wait
    """
    console = console_of(context)
    stage = open_stage(console.stage)
    registry = registry_of(stage)
    # Asked for first: with the gateway's key goes the only copy of the secret.
    secret = registry.secret_of(key_id) if wait else None
    key = registry.revoke_key(key_id)
    seconds = None
    if secret is not None:
        url = stage.deployment.api_url
        seconds = seconds_until_refused(lambda: is_refused(url, secret), _PROBE_SECONDS)
    if console.json:
        waited = {"refused_after_seconds": seconds and round(seconds, 2)} if wait else {}
        console.print_json(key_view(key) | waited)
        return
    console.print(f"Key {key.id} of client {key.client_id} is revoked.")
    if seconds is not None:
        console.print(f"The API refused it {seconds:.1f} seconds after it was revoked.")
    elif wait:
        console.info("API Gateway holds it no longer, so there is nothing to probe with.")
    else:
        console.info("It is refused within 30 seconds.")


def _tell_if_suspended(console: Console, registry: Registry, client_id: str) -> None:
    """Say on stderr why a key that was just made does not work."""
    if registry.client(client_id).status == "suspended":
        console.info(
            f"Client {client_id} is suspended, so the key is refused until"
            f" `radgate --stage {console.stage} clients resume {client_id}`."
        )


def _date(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d}"
