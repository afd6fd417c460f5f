"""How wide each column of a table is, so that all of its text is there at any width."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

_ID_WIDTH = 30  # of our ids; what is longer, such as a URL, may fold
_EDGES = 2
_WIDE_GAP, _NARROW_GAP = 3, 2


def table_of(columns: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> Table:
    """Return a table that is at most `room` cells wide, if that is room for a letter a column.

    rich widens a column to its `min_width` only after it has shared out the room, and cuts off
    what then stands outside. So every column gets a width from here.
    """
    texts = [list(column) for column in zip(columns, *rows, strict=True)]
    gaps = len(columns) - 1
    roomy = sum(map(_widest_line, texts)) <= room - _EDGES - _WIDE_GAP * gaps
    gap = _WIDE_GAP if roomy else _NARROW_GAP
    widths = shared_out(texts, room - _EDGES - gap * gaps)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1) if roomy else (0, 1, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        table.add_column(Text(column), overflow="fold", width=width)
    for row in rows:
        # Text, not str: a client's name must not be read as rich's markup.
        cells = (_hyphenated(cell, width) for cell, width in zip(row, widths, strict=True))
        table.add_row(*map(Text, cells))
    return table


def shared_out(texts: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return a width for each column of `texts`, its heading first; at most `room` in all.

    Every column gets its longest word; what is left goes to those that still wrap, the narrowest
    first. Where even the words have no room, the widest column gives way before the others; a
    heading after what is below it, and the first column, which names the row, last.
    """
    wanted = [max(1, _widest_line(column)) for column in texts]
    widths = [max(1, min(_ID_WIDTH, _widest_word(column))) for column in texts]
    headings = [_widest_word(column[:1]) for column in texts]
    columns = range(len(widths))
    least = 2 if room >= 2 * len(widths) else 1  # a Chinese character is two cells wide
    while sum(widths) > room and max(widths) > least:
        may = (
            [i for i in columns if i > 0 and widths[i] > max(least, headings[i])]
            or [i for i in columns if i > 0 and widths[i] > least]
            or [0]
        )
        widths[max(may, key=widths.__getitem__)] -= 1
    while sum(widths) < room:
        wrapped = [i for i, width in enumerate(widths) if width < wanted[i]]
        if not wrapped:
            break
        widths[min(wrapped, key=widths.__getitem__)] += 1
    return widths


def _widest_line(texts: Sequence[str]) -> int:
    return max((cell_len(line) for text in texts for line in text.splitlines()), default=0)


def _widest_word(texts: Sequence[str]) -> int:
    return max((cell_len(word) for text in texts for word in text.split()), default=0)


def _hyphenated(text: str, width: int) -> str:
    """Let words that are wider than the column break at their hyphens."""
    return re.sub(
        rf"\S{{{width + 1},}}",
        lambda word: "\n".join(textwrap.wrap(word[0], width, break_long_words=False)),
        text,
    )
