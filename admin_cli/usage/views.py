"""How usage is shown: as CSV, as a small chart in the terminal, in a word."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

_BAR_WIDTH = 50
_MOST_DAYS = 31
# What a spreadsheet would run as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Return rows as CSV (RFC 4180) with a header; no text of it is a formula."""
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _harmless(row[name]) for name in columns})
    return file.getvalue().removesuffix("\r\n")


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def chart(used: Mapping[str, Mapping[date, int]], first: date, last: date) -> list[str]:
    """Return a bar for each day, of all clients together, or for each month of a longer time."""
    sums: dict[str, int] = {}
    by_day = (last - first).days < _MOST_DAYS
    day = first
    while day <= last:
        name = day.isoformat() if by_day else f"{day:%Y-%m}"
        sums[name] = sums.get(name, 0) + sum(days.get(day, 0) for days in used.values())
        day += timedelta(days=1)
    most = max(sums.values(), default=0)
    width = len(f"{most:,}")
    return [
        f"{name}  {count:>{width},} {_bar(count, most)}".rstrip() for name, count in sums.items()
    ]


def _bar(count: int, most: int) -> str:
    """Return a bar; what is not nought has at least half a cell."""
    if count == 0:
        return ""
    halves = max(1, round(2 * _BAR_WIDTH * count / most))
    return "█" * (halves // 2) + "▌" * (halves % 2)


def gate_note(studies: int, requests: int | None) -> str:
    """Return how the ledger's studies and API Gateway's requests go together.

    Every live study came as at least one request, and most requests are no studies: so the
    gateway must have counted as many or more.
    """
    if requests is None:
        return "API Gateway has no figures"
    return "ok" if requests >= studies else f"{studies - requests} studies without a request"
