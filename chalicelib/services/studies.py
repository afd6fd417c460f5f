"""A client's own studies: read them, list them, fetch a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.domain import REPORT_NAME, Study, StudyPage, StudyStatus
from chalicelib.errors import NotFinished, NotFound
from chalicelib.services.links import with_links

if TYPE_CHECKING:
    from chalicelib.domain import Link
    from chalicelib.ports import DocumentStore, StudyStore


@dataclass(frozen=True, slots=True)
class StudyService:
    """Every method is told whose studies; another client's do not exist for it."""

    store: StudyStore
    documents: DocumentStore

    def get(self, client_id: str, study_id: str) -> Study:
        """Return one study, its links signed afresh. Raises NotFound."""
        return with_links(self.store.get(client_id, study_id), self.documents, client_id)

    def page(
        self,
        client_id: str,
        limit: int,
        cursor: str | None = None,
        status: StudyStatus | None = None,
    ) -> StudyPage:
        """Return up to `limit` studies, newest first. Raises InvalidRequest for a bad cursor."""
        page = self.store.page(client_id, limit, cursor, status)
        items = tuple(with_links(study, self.documents, client_id) for study in page.items)
        return StudyPage(items=items, next_cursor=page.next_cursor)

    def report(self, client_id: str, study_id: str) -> Link:
        """Return a fresh link. Raises NotFound, or NotFinished while there is no result yet."""
        study = self.store.get(client_id, study_id)
        if study.status in {StudyStatus.QUEUED, StudyStatus.RUNNING}:
            raise NotFinished(f"The study is {study.status}; its report comes with the result.")
        if study.status is not StudyStatus.SUCCEEDED:
            raise NotFound("There is no such report.")
        return self.documents.link(client_id, study_id, REPORT_NAME)
