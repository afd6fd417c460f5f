"""Packs brought in and switched, each together with its line in the audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from admin_cli import emulator
from admin_cli.console import CliError
from admin_cli.stage import open_stage
from chalicelib.errors import RadgateError
from chalicelib.tenants.audit import Change

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from admin_cli.models.place import Place
    from chalicelib.tenants.audit import Trail


_TOLD = ("name", "version", "sha256")


def trail_of(stage: str) -> Trail | None:
    """Return the audit trail of a stage; None for a local stage that is not running.

    Raises CliError for any other stage that is not deployed.
    """
    if stage == "local" and emulator.running(emulator.local_home()) is None:
        return None
    return open_stage(stage).trail


def switch(
    look: Callable[[], dict[str, Any]],
    wanted: dict[str, Any],
    action: str,
    apply: Callable[[], None],
    trail: Trail | None,
) -> None:
    """Note that `wanted` is to answer, then let it, by `apply`. `look`: tells what answers now.

    The packs and the trail cannot change in one step. The entry comes first: a crash between
    the two leaves one that says too much, and the command can be run again. The other way
    round it would leave a model that answers and that nobody is known to have chosen.
    """
    if trail is not None:
        trail.commit(lambda: change(_answering(look()), wanted, action))
    apply()


def bring(
    place: Place, source: Path, wanted: dict[str, Any], trail: Trail | None
) -> tuple[dict[str, Any], bool]:
    """Note that the pack in folder `source`, which is `wanted`, is to be brought in; then do it.

    Returns what `place.install` does. The entry comes first, for the same reason as with a switch;
    what is refused after all, as for its golden answer, is noted too. Not noted is what changes
    nothing: a sound pack of that name stays as it is, whether it is the same one or another, which
    is refused.
    """
    there = next((one for one in place.facts()["packs"] if one["folder"] == source.name), None)
    fault = "" if there is None or trail is None else place.fault(source.name)
    if trail is None or (there is not None and not fault):
        return place.install(source)
    before = there and {name: str(there[name]) for name in _TOLD if name in there}
    seen = before if before is None else {**before, "fault": fault}
    _note_pack(trail, wanted, seen, _told(wanted))
    try:
        return place.install(source)
    except (CliError, RadgateError):
        _note_pack(trail, wanted, _told(wanted), seen)
        raise


def _note_pack(
    trail: Trail,
    wanted: dict[str, Any],
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
) -> None:
    subject = f"{wanted['name']}@{wanted['version']}"
    trail.commit(lambda: Change("model.install", subject, None, before=before, after=after))


def change(before: dict[str, Any] | None, wanted: dict[str, Any], action: str) -> Change | None:
    """Return what the trail is told of a switch between two packs; None where they are the same."""
    told = [one and _told(one) for one in (before, wanted)]
    if told[0] == told[1]:
        return None
    subject = f"{wanted['name']}@{wanted['version']}"
    return Change(action, subject, None, before=told[0], after=told[1])


def _answering(facts: dict[str, Any]) -> dict[str, Any] | None:
    found = (one for one in facts["packs"] if one["folder"] == facts["active"])
    return next(found, None)


def _told(pack: dict[str, Any]) -> dict[str, Any]:
    return {name: str(pack[name]) for name in _TOLD}
