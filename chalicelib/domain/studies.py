"""A study as its client sees it, and the documents that belong to it."""

from __future__ import annotations

import re
from enum import StrEnum

from pydantic import AwareDatetime

from chalicelib.domain.base import Mode, Value
from chalicelib.domain.images import Finding, ImageInfo, ModelRef, Quality

REPORT_NAME = "report.pdf"


class StudyStatus(StrEnum):
    """A study's life; it never goes backwards."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DELETED = "deleted"


class Link(Value):
    """A signed link to a document. Whoever holds it can read the document until `expires_at`."""

    url: str
    expires_at: AwareDatetime
    media_type: str


class HeatmapLink(Link):
    """A signed link to the heatmap of one positive finding: a PNG to lay over the radiograph."""

    label: str


def heatmap_name(label: str) -> str:
    """Return the name of a label's heatmap among a study's documents."""
    return f"heatmap-{re.sub('[^a-z0-9]+', '-', label.lower()).strip('-')}.png"


class Study(Value):
    """One analysed radiograph, in the shape in which clients see it."""

    id: str
    status: StudyStatus
    created_at: AwareDatetime
    completed_at: AwareDatetime | None = None
    label: str | None = None
    findings: tuple[Finding, ...] = ()
    model: ModelRef | None = None
    image: ImageInfo | None = None
    quality: Quality | None = None
    report: Link | None = None
    heatmaps: tuple[HeatmapLink, ...] = ()
    mode: Mode = "live"
    error: dict[str, str | int | list[str]] | None = None


class StudyPage(Value):
    """A slice of a client's studies, newest first; `next_cursor` is None on the last page."""

    items: tuple[Study, ...]
    next_cursor: str | None
