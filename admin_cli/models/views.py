"""How packs are shown, and how the fetching of one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

_DOWNLOADS = ".downloads"


def name_of(pack: dict[str, Any]) -> str:
    """Return NAME@VERSION."""
    return f"{pack['name']}@{pack['version']}"


def title(folder: str) -> str:
    """Return as NAME@VERSION what lies in a folder, sound or not; a name that is none as it is."""
    name, _, version = folder.rpartition("-")
    return f"{name}@{version}" if name and version else folder


def plain(pack: dict[str, Any]) -> dict[str, Any]:
    """Return a sound pack as it is shown, which its folder's name is no part of."""
    return {name: value for name, value in pack.items() if name != "folder"}


def listed(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of `models list`."""
    return [
        {
            **(plain(one) if "name" in one else {"folder": one["folder"]}),
            "active": one["folder"] == facts["active"],
            "error": one.get("error"),
        }
        for one in facts["packs"]
    ]


def cell(row: dict[str, Any], column: str) -> object:
    """Return what a table shows of a row of `models list`."""
    if column == "model":
        return name_of(row) if "name" in row else title(row["folder"])
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
