"""Which pack answers, switched together with its line in the audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from admin_cli import emulator
from admin_cli.stage import open_stage
from chalicelib.errors import ModelUnavailable
from chalicelib.inference import packs
from chalicelib.tenants.audit import Change

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chalicelib.inference.packs import Pack
    from chalicelib.tenants.audit import Trail


def trail_of(stage: str) -> Trail | None:
    """Return the audit trail of a stage; None for a local stage that is not running.

    Raises CliError for any other stage that is not deployed.
    """
    if stage == "local" and emulator.running(emulator.local_home()) is None:
        return None
    return open_stage(stage).trail


def switch(
    model_dir: Path, wanted: Pack, action: str, apply: Callable[[], Pack], trail: Trail | None
) -> Pack:
    """Note that `wanted` is to answer, then let it, by `apply`; return what answers.

    The folder and the trail cannot change in one step. The entry comes first: a crash between
    the two leaves one that says too much, and the command can be run again. The other way
    round it would leave a model that answers and that nobody is known to have chosen.
    """
    if trail is not None:
        trail.commit(lambda: _change(model_dir, wanted, action))
    return apply()


def _change(model_dir: Path, wanted: Pack, action: str) -> Change | None:
    try:
        before: Pack | None = packs.active_pack(model_dir)
    except ModelUnavailable:
        before = None
    if before is not None and before.ref == wanted.ref:
        return None
    return Change(
        action=action,
        subject=f"{wanted.ref.name}@{wanted.ref.version}",
        client_id=None,
        before=None if before is None else _told(before),
        after=_told(wanted),
    )


def _told(pack: Pack) -> dict[str, str]:
    return {"name": pack.ref.name, "version": pack.ref.version, "sha256": pack.ref.sha256}
