"""Reports without S3 and without a page: the shipped fakes, and values to write reports of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from chalicelib.domain import (
    Finding,
    Heatmap,
    ImageInfo,
    LabelFacts,
    Link,
    ModelFacts,
    ModelRef,
    Quality,
    Radiograph,
    Study,
    StudyStatus,
    leading_label,
)
from chalicelib.ports import DocumentStore, ReportWriter
from chalicelib.reports.store import LINK_SECONDS, media_type, object_name, prefix_of

if TYPE_CHECKING:
    from chalicelib.domain import Mode
    from chalicelib.ports import Clock

STUDY_ID = "st_01JD8Z5M3Q4R6S7T8V9W0XYZAB"
CREATED = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
MODEL = ModelRef(name="cardionet", version="1", sha256="a1b2" * 16)


class InMemoryDocumentStore(DocumentStore):
    """Documents in a dictionary; `fetch` is what a browser would get for a link."""

    def __init__(self, now: Clock) -> None:
        self._now = now
        self._documents: dict[str, bytes] = {}
        self._expiry: dict[str, datetime] = {}

    def put(self, client_id: str, study_id: str, name: str, body: bytes) -> None:
        self._documents[object_name(client_id, study_id, name)] = body

    def states(self, client_id: str, study_id: str) -> dict[str, str]:
        prefix = prefix_of(client_id, study_id)
        return {
            name.removeprefix(prefix): sha256(body).hexdigest()
            for name, body in self._documents.items()
            if name.startswith(prefix)
        }

    def put_over(
        self, client_id: str, study_id: str, name: str, body: bytes, state: str | None
    ) -> bool:
        there = self._documents.get(object_name(client_id, study_id, name))
        if (None if there is None else sha256(there).hexdigest()) != state:
            return False
        self.put(client_id, study_id, name, body)
        return True

    def link(self, client_id: str, study_id: str, name: str) -> Link:
        expires_at = self._now().replace(microsecond=0) + timedelta(seconds=LINK_SECONDS)
        key = object_name(client_id, study_id, name)
        url = f"https://reports.invalid/{key}?expires={int(expires_at.timestamp())}"
        self._expiry[url] = expires_at
        return Link(url=url, expires_at=expires_at, media_type=media_type(name))

    def delete(self, client_id: str, study_id: str, name: str) -> None:
        self._documents.pop(object_name(client_id, study_id, name), None)

    def delete_all(self, client_id: str, study_id: str) -> None:
        prefix = prefix_of(client_id, study_id)
        for name in [name for name in self._documents if name.startswith(prefix)]:
            del self._documents[name]

    def names(self) -> list[str]:
        """Return the names of all objects."""
        return sorted(self._documents)

    def __len__(self) -> int:
        """Return how many documents are kept."""
        return len(self._documents)

    def fetch(self, url: str) -> bytes | None:
        """Return the document behind a link; None when it is gone or the link is over or forged."""
        if url not in self._expiry or self._now() >= self._expiry[url]:
            return None
        return self._documents.get(url.removeprefix("https://reports.invalid/").partition("?")[0])


class PlainReportWriter(ReportWriter):
    """Writes a line that tells what it was given."""

    def write(
        self,
        study: Study,
        radiograph: Radiograph,
        heatmaps: tuple[Heatmap, ...],
        facts: ModelFacts,
    ) -> bytes:
        size = f"{radiograph.info.width}x{radiograph.info.height}"
        maps = ",".join(heatmap.label for heatmap in heatmaps)
        return f"%PDF-1.4 {study.id} {study.label} {size} [{maps}] {facts.ref.name}".encode()

    def paint(self, radiograph: Radiograph, heatmap: Heatmap) -> bytes:
        return f"PNG of {heatmap.label} for {radiograph.info.width} pixels".encode()


def a_finding(label: str = "Cardiomegaly", probability: float = 0.91, at: float = 0.47) -> Finding:
    return Finding(label=label, probability=probability, threshold=at, positive=probability >= at)


def a_reported_study(
    *findings: Finding, mode: Mode = "live", quality: Quality | None = None
) -> Study:
    return Study(
        id=STUDY_ID,
        status=StudyStatus.SUCCEEDED,
        created_at=CREATED,
        completed_at=CREATED + timedelta(seconds=2),
        label=leading_label(findings),
        findings=findings,
        model=MODEL,
        quality=quality or Quality(accepted=True, score=0.97),
        mode=mode,
    )


def a_radiograph(
    width: int = 64,
    height: int = 64,
    *,
    pixels: bytes | None = None,
    maxval: int = 255,
    steps: tuple[str, ...] = ("voi_lut", "invert"),
) -> Radiograph:
    """Return a mid-grey image unless told the pixels."""
    info = ImageInfo(format="DICOM", width=width, height=height, sha256="c3d4" * 16, steps=steps)
    if pixels is None:
        pixels = bytes([maxval // 2]) * (width * height)
    return Radiograph(info=info, pixels=pixels, maxval=maxval)


def a_hot_cell(
    box: tuple[float, float, float, float],
    *,
    label: str = "Cardiomegaly",
    grid: tuple[int, int] = (9, 7),
    cell: tuple[int, int] = (6, 2),
) -> Heatmap:
    """Return a map that is cold but for one cell, which has no twin under any flip or turn."""
    values = bytearray(grid[0] * grid[1])
    values[cell[1] * grid[0] + cell[0]] = 255
    return Heatmap(label=label, width=grid[0], height=grid[1], values=bytes(values), box=box)


def the_facts(*labels: str) -> ModelFacts:
    return ModelFacts(
        ref=MODEL,
        architecture="residual network",
        licence="MIT",
        labels=tuple(
            LabelFacts(
                label=label,
                threshold=0.47,
                auroc=0.912,
                auroc_low=0.897,
                auroc_high=0.926,
                dataset="NIH ChestX-ray14, test split",
            )
            for label in labels
        ),
    )
