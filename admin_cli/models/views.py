"""How packs are shown, and how the fetching of one is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:
    from pathlib import Path

    from admin_cli.console import Console
    from admin_cli.models.torchxrayvision import Order
    from chalicelib.inference.packs import Pack

_DOWNLOADS = ".downloads"


def name_of(pack: Pack) -> str:
    """Return NAME@VERSION."""
    return f"{pack.ref.name}@{pack.ref.version}"


def facts_of(pack: Pack) -> dict[str, object]:
    """Return a pack as plain data."""
    return {
        "name": pack.ref.name,
        "version": pack.ref.version,
        "sha256": pack.ref.sha256,
        "architecture": pack.manifest.architecture,
        "scale": pack.manifest.scale,
        "labels": [claim.name for claim in pack.manifest.labels],
        "licence": pack.manifest.licence,
        "source": pack.manifest.source,
    }


def cell(row: dict[str, object], column: str) -> object:
    """Return what a table shows of a row of `models list`."""
    if column == "model":
        return f"{row['name']}@{row['version']}" if "name" in row else row["folder"]
    if column == "active":
        return "yes" if row["active"] else ""
    value = row.get(column)
    if column == "labels" and isinstance(value, list):
        return len(value)
    return str(value)[:12] if column == "sha256" and value else value


def fetched(console: Console, order: Order, target: Path) -> Path:
    """Make the pack of a release; what was fetched so far waits beside the packs."""
    from admin_cli.models.torchxrayvision import build_pack  # noqa: PLC0415 - keeps --help fast

    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=RichConsole(stderr=True),
        disable=not RichConsole(stderr=True).is_terminal,
    )
    if bars.disable:
        console.info(f"fetching {order.name}")
    with bars:
        task = bars.add_task(order.name)
        return build_pack(
            order,
            target / _DOWNLOADS,
            lambda have, total: bars.update(task, completed=have, total=total),
        )
