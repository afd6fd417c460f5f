"""Hides which documents a study has: links are signed when a study is shown, never stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.domain import (
    REPORT_NAME,
    HeatmapLink,
    Study,
    StudyStatus,
    document_name,
    heatmap_name,
)

if TYPE_CHECKING:
    from chalicelib.domain import Link
    from chalicelib.ports import DocumentStore


def with_links(study: Study, documents: DocumentStore, client_id: str) -> Study:
    """Return the study with fresh links to its documents; without a result there are none.

    Every positive finding has a heatmap. Raises StorageUnavailable.
    """
    report = report_link(study, documents, client_id)
    if report is None or study.model is None:
        return study
    heatmaps = []
    for finding in study.findings:
        if finding.positive:
            name = document_name(study.model, heatmap_name(finding.label))
            link = documents.link(client_id, study.id, name)
            heatmaps.append(HeatmapLink(label=finding.label, **link.model_dump()))
    return study.model_copy(update={"report": report, "heatmaps": tuple(heatmaps)})


def report_link(study: Study, documents: DocumentStore, client_id: str) -> Link | None:
    """Return a fresh link to a study's report, None without a result. Raises StorageUnavailable."""
    if study.status is not StudyStatus.SUCCEEDED or study.model is None:
        return None
    return documents.link(client_id, study.id, document_name(study.model, REPORT_NAME))
