"""Hides the table of findings: one bar for each, with its operating point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.reports import words
from chalicelib.reports.page import ACCENT, GREY, INK, LEFT, NEUTRAL, PAPER, RIGHT, TRACK

if TYPE_CHECKING:
    from chalicelib.domain import Finding, LabelFacts, ModelFacts
    from chalicelib.reports.page import Page

HEAD, FOOT = 9.0, 6.0  # mm above and below the rows
ROW_MAX, ROW_MIN = 6.5, 3.7

# Where the columns begin, or end if their numbers are set to the right.
_BAR, _BAR_WIDTH = 66.0, 46.0
_PROBABILITY, _POINT, _VERDICT, _AUROC = 130.0, 145.0, 150.5, RIGHT


def rows_height(room: float, count: int) -> float:
    """Return the height in mm that `count` rows take when there is `room` for them."""
    return max(0.0, min(room, ROW_MAX * count))


def table(
    page: Page, top: float, room: float, order: tuple[Finding, ...], model: ModelFacts
) -> float:
    """Draw the findings in the given order; return where the table ends.

    `room`: height in mm for the rows alone. Findings that do not fit are counted in words;
    the positive ones come first, so those are the last to go.
    """
    shown = order[: max(1, int(room / ROW_MIN))]
    row = min(ROW_MAX, room / len(shown))
    _head(page, top + 3, words.term(model.ref).capitalize())
    known = {facts.label: facts for facts in model.labels}
    y = top + HEAD
    for finding in shown:
        _row(page, y, row, finding, known.get(finding.label))
        y += row
    note = words.table_note(len(order), len(order) - len(shown))
    page.text(LEFT, y + 3.4, note, size=6.5, colour=GREY, width=RIGHT - LEFT)
    return y + FOOT


def _head(page: Page, y: float, number: str) -> None:
    page.text(LEFT, y, "Findings", size=9, bold=True)
    low = y + 3.5
    for share, text in ((0.0, "0"), (0.5, "0.5"), (1.0, "1")):
        page.text(_BAR + share * _BAR_WIDTH, low, text, size=6.5, colour=GREY, align="centre")
    for x, text in ((_PROBABILITY, number), (_POINT, "Op. point")):
        page.text(x, low, text, size=6.5, colour=GREY, align="right")
    page.text(_VERDICT, low, "Result", size=6.5, colour=GREY)
    page.text(_AUROC, low, "AUROC (95% interval)", size=6.5, colour=GREY, align="right")


def _row(page: Page, top: float, row: float, finding: Finding, facts: LabelFacts | None) -> None:
    size = 8.5 if row > 5 else 7.5  # noqa: PLR2004 - mm
    base, bold = top + row / 2 + 1.05, finding.positive
    name = words.label_name(finding.label)
    page.text(LEFT, base, name, size=size, bold=bold, width=_BAR - LEFT - 3)
    thick = min(3.0, row * 0.55)
    bar = top + (row - thick) / 2
    page.block(_BAR, bar, _BAR_WIDTH, thick, TRACK)
    # Dark against light, so that a greyscale print keeps the difference.
    colour = ACCENT if finding.positive else NEUTRAL
    page.block(_BAR, bar, finding.probability * _BAR_WIDTH, thick, colour)
    point = _BAR + finding.threshold * _BAR_WIDTH
    page.line(point, bar - 0.7, point, bar + thick + 0.7, colour=PAPER, width=0.8)
    page.line(point, bar - 0.7, point, bar + thick + 0.7, colour=INK, width=0.45)
    probability, threshold = words.numbers(finding)
    page.text(_PROBABILITY, base, probability, size=size, bold=bold, align="right")
    page.text(_POINT, base, threshold, size=size, colour=GREY, align="right")
    verdict = "positive" if finding.positive else "negative"
    page.text(_VERDICT, base, verdict, size=size, bold=bold, colour=INK if bold else GREY)
    page.text(_AUROC, base, words.auroc(facts), size=size, colour=GREY, align="right")
