"""`radgate audit`: who changed what, and the proof that nobody changed the record of it."""

from __future__ import annotations

from textwrap import fill, indent
from typing import TYPE_CHECKING, Annotated

import typer

from admin_cli.console import CliError, console_of
from admin_cli.stage import open_stage
from admin_cli.tenants.accounts import known_client
from admin_cli.words import counted
from chalicelib.tenants.audit_check import ANCHOR, verify

if TYPE_CHECKING:
    from chalicelib.tenants.audit import AuditEntry

# The name of who was at work on AWS alone is longer than a column could be: each entry has lines.
_UNDER = " " * 7
_WIDTH = 80 - len(_UNDER)

app = typer.Typer(
    help="Who changed what, and the proof that the record of it is whole.", no_args_is_help=True
)


@app.command()
def log(
    context: typer.Context,
    client: Annotated[
        str | None, typer.Option(metavar="CLIENT", help="Only changes of this client.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
) -> None:
    """List the latest administrative changes, newest first.

    Example: radgate audit log --client acme --limit 10
    """
    console = console_of(context)
    stage = open_stage(console.stage)
    entries = stage.trail.latest(limit, client)
    if client is not None and not entries:
        known_client(stage.accounts, client)
    if console.json:
        console.print_json(entries)
    else:
        for entry in entries:
            console.print(f"{entry.number:>5}  {entry.at:%Y-%m-%d %H:%M:%S}  {entry.action}")
            for line in (f"{entry.subject}, by {entry.actor}", difference(entry)):
                # Not at hyphens, which ids have.
                console.print(indent(fill(line, _WIDTH, break_on_hyphens=False), _UNDER))


@app.command("verify")
def verify_trail(
    context: typer.Context,
    anchor: Annotated[
        str, typer.Option(metavar="NUMBER:HASH", help="What an earlier run printed.")
    ] = "",
) -> None:
    """Follow the hash chain from its beginning and name the first entry that is amiss.

    Prints the number and hash of the last entry. Keep them outside of AWS: given as --anchor
    later, they prove that nothing before them was changed, even by someone who could rewrite
    the whole chain.

    Example: radgate audit verify --anchor 17:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c…
    """
    console = console_of(context)
    if anchor and not ANCHOR.fullmatch(anchor):
        raise typer.BadParameter("a number, a colon and 64 hex digits", param_hint="--anchor")
    stage = open_stage(console.stage)
    verdict = verify(stage.table.name, stage.trail.head, stage.trail.records, anchor)
    if verdict.broken is not None:
        broken = verdict.broken
        raise CliError(f"the audit trail is broken: entry {broken.number} {broken.reason}")
    if console.json:
        console.print_json(verdict)
    else:
        console.print(verdict.anchor)
        console.info(f"The audit trail is whole: {counted(verdict.entries, 'entry', 'entries')}.")


def difference(entry: AuditEntry) -> str:
    """Return in a few words how a thing changed."""
    if entry.before is None or entry.after is None:
        return "added" if entry.before is None else "removed"
    return ", ".join(
        f"{name}: {_short(entry.before.get(name))} → {_short(value)}"
        for name, value in entry.after.items()
    )


def _short(value: object) -> str:
    if isinstance(value, dict):
        return str(value.get("name", "…"))
    return "none" if value is None else str(value)
