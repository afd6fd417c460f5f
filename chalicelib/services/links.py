"""Hides which documents a study has: links are signed when a study is shown, never stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.domain import REPORT_NAME, HeatmapLink, Study, StudyStatus, heatmap_name

if TYPE_CHECKING:
    from chalicelib.ports import DocumentStore


def document_names(study: Study) -> set[str]:
    """Return the names of a study's documents: a report, and a heatmap for each positive finding.

    Without a result there are none.
    """
    if study.status is not StudyStatus.SUCCEEDED:
        return set()
    return {REPORT_NAME} | {heatmap_name(one.label) for one in study.findings if one.positive}


def with_links(study: Study, documents: DocumentStore, client_id: str) -> Study:
    """Return the study with fresh links to its documents; without a result there are none.

    Every positive finding has a heatmap. Raises StorageUnavailable.
    """
    if study.status is not StudyStatus.SUCCEEDED:
        return study
    heatmaps = []
    for finding in study.findings:
        if finding.positive:
            link = documents.link(client_id, study.id, heatmap_name(finding.label))
            heatmaps.append(HeatmapLink(label=finding.label, **link.model_dump()))
    report = documents.link(client_id, study.id, REPORT_NAME)
    return study.model_copy(update={"report": report, "heatmaps": tuple(heatmaps)})
