"""Hides fpdf2: one A4 page with text set by its baseline; lengths in mm, type sizes in points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fpdf import FPDF
from fpdf.enums import MethodReturnValue
from fpdf.prefs import ViewerPreferences

from chalicelib.reports.words import printable

if TYPE_CHECKING:
    from datetime import datetime
    from io import BytesIO

Colour = tuple[int, int, int]

WIDTH, HEIGHT = 210.0, 297.0
LEFT, RIGHT = 18.0, 192.0
COLUMN, SECOND = 84.0, 108.0  # two columns: their width, and where the second begins

INK: Colour = (26, 28, 32)
GREY: Colour = (104, 108, 116)
RULE: Colour = (206, 209, 214)
TRACK: Colour = (236, 237, 240)
NEUTRAL: Colour = (166, 170, 178)
ACCENT: Colour = (184, 66, 12)
PAPER: Colour = (255, 255, 255)

_POINT = 25.4 / 72
_BEFORE = {"left": 0.0, "centre": 0.5, "right": 1.0}  # share of a line before its anchor
_CAP = 0.72  # height of Helvetica's capitals, as a share of the type size


class Page:
    """One page that is drawn on and then turned into a file."""

    def __init__(self, title: str, subject: str, created: datetime) -> None:
        """Start a page; `created` is the only time that gets into the file."""
        pdf = FPDF(orientation="portrait", unit="mm", format="A4")
        pdf.set_auto_page_break(auto=False)
        pdf.set_creation_date(created)
        pdf.set_title(title)
        pdf.set_subject(subject)
        pdf.set_lang("en")
        pdf.set_creator("Radgate")
        pdf.set_producer("fpdf2")
        pdf.set_display_mode("fullpage")
        pdf.viewer_preferences = ViewerPreferences(display_doc_title=True)
        pdf.c_margin = 0
        pdf.add_page()
        self._pdf = pdf

    def text(  # noqa: PLR0913 - type has this many properties
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 8.0,
        bold: bool = False,
        colour: Colour = INK,
        align: Literal["left", "centre", "right"] = "left",
        width: float | None = None,
    ) -> float:
        """Set one line with its baseline at `y` and return its width.

        `x` is its left end, its middle or its right end, as `align` says. A line wider than
        `width` is cut and ends in an ellipsis.
        """
        self._font(size, bold=bold)
        self._pdf.set_text_color(*colour)
        shown = printable(text)
        if width is not None and self._pdf.get_string_width(shown) > width:
            ellipsis = printable("…")
            while shown and self._pdf.get_string_width(shown + ellipsis) > width:
                shown = shown[:-1]
            shown = shown.rstrip() + ellipsis
        taken = float(self._pdf.get_string_width(shown))
        self._pdf.text(x - taken * _BEFORE[align], y, shown)
        return taken

    def paragraph(  # noqa: PLR0913
        self,
        x: float,
        y: float,
        text: str,
        *,
        width: float,
        size: float = 8.0,
        colour: Colour = INK,
        lines: int = 3,
    ) -> float:
        """Set text in at most `lines` lines of `width`; return the baseline after the last."""
        self._font(size, bold=False)
        leading = size * _POINT * 1.35
        parts = self._pdf.multi_cell(
            width, text=printable(text), dry_run=True, output=MethodReturnValue.LINES
        )
        if not isinstance(parts, list):  # which fpdf2 returns depends on `output`
            raise TypeError("multi_cell did not return lines")
        shown = parts[:lines]
        if len(parts) > lines:
            shown[-1] = shown[-1][:-2].rstrip() + printable("…")
        self._pdf.set_text_color(*colour)
        for number, part in enumerate(shown):
            self._pdf.text(x, y + number * leading, part)
        return y + len(shown) * leading

    def badge(self, right: float, y: float, text: str, *, filled: bool) -> float:
        """Draw a boxed word that ends at `right`, baseline at `y`; return its left edge."""
        size, pad = 8.5, 2.2
        self._font(size, bold=True)
        width = float(self._pdf.get_string_width(printable(text))) + 2 * pad
        cap = size * _POINT * _CAP
        self._pdf.set_line_width(0.35)
        self._pdf.set_draw_color(*INK)
        self._pdf.set_fill_color(*(INK if filled else PAPER))
        self._pdf.rect(right - width, y - cap - 1.7, width, cap + 3.4, style="DF")
        self.text(right - width + pad, y, text, size=size, bold=True,
                  colour=PAPER if filled else INK)  # fmt: skip
        return right - width

    def rule(self, y: float, colour: Colour = RULE) -> None:
        """Draw a hairline over the whole width."""
        self.line(LEFT, y, RIGHT, y, colour=colour, width=0.2)

    def line(  # noqa: PLR0913
        self, x1: float, y1: float, x2: float, y2: float, *, colour: Colour = INK, width: float
    ) -> None:
        """Draw a line."""
        self._pdf.set_draw_color(*colour)
        self._pdf.set_line_width(width)
        self._pdf.line(x1, y1, x2, y2)

    def block(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """Fill a rectangle; nothing is drawn when it has no width."""
        if width > 0:
            self._pdf.set_fill_color(*colour)
            self._pdf.rect(x, y, width, height, style="F")

    def picture(
        self, file: BytesIO, corner: tuple[float, float], size: tuple[float, float], alt: str
    ) -> None:
        """Place a JPEG by its upper left corner; `alt` stands for it where it cannot be seen."""
        self._pdf.image(file, *corner, *size, alt_text=alt)

    def file(self) -> bytes:
        """Return the finished PDF; the same drawing gives the same bytes."""
        return bytes(self._pdf.output())

    def _font(self, size: float, *, bold: bool) -> None:
        self._pdf.set_font("helvetica", style="B" if bold else "", size=size)
