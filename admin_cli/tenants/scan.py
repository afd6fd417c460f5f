"""`radgate keys scan`: our keys where they should not be, and whose they are."""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 - typer reads the annotation at run time
from typing import TYPE_CHECKING, Annotated

import typer

from admin_cli.console import console_of
from admin_cli.stage import open_stage
from admin_cli.tenants.key_views import state_of
from admin_cli.tenants.leaks import scan as search
from admin_cli.tenants.registry import registry_of
from admin_cli.words import counted, sized
from chalicelib.tenants import keys

if TYPE_CHECKING:
    from admin_cli.console import Console
    from admin_cli.stage import Stage
    from admin_cli.tenants.leaks import Findings

_LIVE = {"active", "replaced"}
# What opens nothing any more; anything else found ends with status 1.
_DEAD = {"revoked", "expired"}
# Places of one key, and of what could not be read, that a person is shown.
_SHOWN = 20


def scan(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    context: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files and folders, with all below.")
    ],
    history: Annotated[
        bool, typer.Option("--history/--no-history", help="Search all that git keeps as well.")
    ] = True,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask the stage whose keys they are.")
    ] = False,
    revoke: Annotated[
        bool, typer.Option("--revoke", help="Revoke the keys that still work, after a question.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Find our keys in files and git history, and say whose they are; the keys are not shown.

    Exit status 1 when a key was found that may still work, or something could not be read: fit for
    a pre-commit hook.

    Example: radgate --stage prod keys scan ~/src --revoke
    """
    console = console_of(context)
    if offline and revoke:
        raise typer.BadParameter("nothing can be revoked offline", param_hint="--revoke")
    stage = None if offline else open_stage(console.stage)
    begun = time.monotonic()
    findings = search(paths, history=history)
    seconds = time.monotonic() - begun
    found = _known(stage, findings)
    live = [one for one in found if one["state"] in _LIVE]
    if not console.json:
        _show(console, found)
    if revoke and live and stage is not None:
        owners = ", ".join(f"{one['key']} of {one['client']}" for one in live)
        console.confirm(f"Revoke {owners}?", yes=yes)
        registry = registry_of(stage)
        for one in live:
            registry.revoke_key(str(one["key"]))
            one["state"] = "revoked"
            console.info(f"Key {one['key']} is revoked.")
    if console.json:
        console.print_json({"found": found, **_read(findings)})
    _summarise(console, findings, len(found), seconds)
    if findings.unreadable or any(one["state"] not in _DEAD for one in found):
        raise typer.Exit(1)


def _known(stage: Stage | None, findings: Findings) -> list[dict[str, object]]:
    """Return what may be told of the keys that were found; `unknown`: not a key of this stage."""
    places = findings.places()
    hashes = {secret: keys.sha256(secret) for secret in places}
    owners = {} if stage is None else stage.keyring.of_hashes([*hashes.values()])
    found: list[dict[str, object]] = []
    for secret, sha256 in hashes.items():
        told: dict[str, object] = {
            "hint": keys.hint(secret),
            "state": "not asked" if stage is None else "unknown",
            "places": places[secret],
        }
        if (key := owners.get(sha256)) is not None:
            told |= {"state": state_of(key), "key": key.id, "client": key.client_id}
        found.append(told)
    return found


def _show(console: Console, found: list[dict[str, object]]) -> None:
    for one in found:
        owner = f"{one['key']} of {one['client']}" if "key" in one else "key"
        console.print(f"{one['hint']}  {owner}: {one['state']}")
        places = one["places"] if isinstance(one["places"], list) else []
        for place in places[:_SHOWN]:
            console.print(f"  {place}")
        if (more := len(places) - _SHOWN) > 0:
            console.print(f"  and {counted(more, 'more place')}, which --output json lists")


def _read(findings: Findings) -> dict[str, object]:
    return {
        "files": findings.files,
        "repositories": findings.repositories,
        "bytes": findings.size,
        "unreadable": findings.unreadable,
    }


def _summarise(console: Console, findings: Findings, count: int, seconds: float) -> None:
    repositories = counted(findings.repositories, "repository", "repositories")
    console.info(
        f"{counted(count, 'key')} in {counted(findings.files, 'file')} and {repositories},"
        f" {sized(findings.size)} in {seconds:.1f} s."
    )
    if unreadable := findings.unreadable:
        console.info(f"{len(unreadable):,} could not be read, and may hold keys:")
        for one in unreadable[:_SHOWN]:
            console.info(f"  {one}")
        if (more := len(unreadable) - _SHOWN) > 0:
            console.info(f"  and {more:,} more, which --output json lists")
