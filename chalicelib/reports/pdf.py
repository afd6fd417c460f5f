"""Hides how a study becomes one A4 page: which finding is shown, and how the height is shared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.reports import findings, layer, sections, words
from chalicelib.reports.page import Page

if TYPE_CHECKING:
    from chalicelib.domain import Finding, Heatmap, ModelFacts, Radiograph, Study

_GAP, _GAP_MAX = 4.0, 8.0  # mm between sections
_PICTURES_MAX, _PICTURES_MIN = 100.0, 74.0


class PdfReportWriter:
    """Writes reports as PDF and heatmaps as PNG; the same study gives the same bytes."""

    def write(
        self,
        study: Study,
        radiograph: Radiograph,
        heatmaps: tuple[Heatmap, ...],
        facts: ModelFacts,
    ) -> bytes:
        """Return a one-page PDF of a study that has findings.

        The heatmap shown is that of `study.label`. When nothing is positive there is none, and the
        radiograph stands alone.

        Raises ValueError when the study has no findings, or the pixels do not fill the image.
        """
        if not study.findings:
            # An empty page would read as "nothing found", which nobody has said.
            raise ValueError("a report needs findings")
        order = words.ranked(study.findings)
        shown = _shown(study, order)
        created = study.completed_at or study.created_at
        page = Page(title=study.id, subject="Chest radiograph analysis", created=created)
        top = sections.header(page, study, order)
        fixed = sections.CAPTION + findings.HEAD + findings.FOOT + sections.FACTS + 2 * _GAP
        free = sections.FOOTER - top - fixed
        rows = findings.rows_height(free - _PICTURES_MIN, len(order))
        # A map of a negative finding would glow where nothing was found, so none is drawn.
        known = heatmaps if shown.positive else ()
        heat = next((each for each in known if each.label == shown.label), None)
        room = min(_PICTURES_MAX, free - rows)
        bottom = sections.pictures(
            page, top, room, radiograph=radiograph, shown=shown, heatmap=heat
        )
        spare = free - rows - (bottom - sections.CAPTION - top)
        guided = spare >= sections.GUIDE + _GAP
        if guided:
            spare -= sections.GUIDE + _GAP
        gap = min(_GAP_MAX, _GAP + spare / 4)
        bottom = findings.table(page, bottom + gap, rows, order, facts) + gap
        sections.facts(page, bottom, study, radiograph, facts)
        if guided:
            sections.guide(page, bottom + sections.FACTS + gap, study)
        sections.footer(page, study)
        return page.file()

    def paint(self, radiograph: Radiograph, heatmap: Heatmap) -> bytes:
        """Return a PNG to lay over the radiograph: transparent where there is no heat."""
        return layer.png(radiograph, heatmap)


def _shown(study: Study, order: tuple[Finding, ...]) -> Finding:
    """Return the finding whose heatmap is drawn."""
    return next((finding for finding in order if finding.label == study.label), order[0])
