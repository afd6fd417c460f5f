"""Erases a study: first in the table, then its objects; whoever calls it again finishes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.errors import NotFound

if TYPE_CHECKING:
    from chalicelib.ports import DocumentStore, Erasure, SourceStore


@dataclass(frozen=True, slots=True)
class ErasureService:
    """Forgets a study of any state and everything of it but its id, its times and its unit."""

    erasure: Erasure
    documents: DocumentStore
    sources: SourceStore

    def erase(self, client_id: str, study_id: str) -> None:
        """Erase one study; twice is no error. Raises NotFound or StorageUnavailable.

        A call that ends early leaves a `deleted` study with a job. The sweeper finds the job and
        calls again; it also does so after a worker that was at the study can be at it no more.
        """
        job = self.erasure.begin(client_id, study_id)
        self.documents.delete_all(client_id, study_id)
        if job.object_name:
            self.sources.delete(job.object_name)
        self.erasure.end(job)

    def forget(self, client_id: str, study_id: str) -> None:
        """Erase what is kept of a study whose time is over, be there a row of it or none.

        Its documents go in any case, also when its row cannot be erased. Raises what it was that
        stood in the way of that, or StorageUnavailable.
        """
        try:
            self.erase(client_id, study_id)
        except NotFound:  # it was never stored, or went with its client
            pass
        finally:
            self.documents.delete_all(client_id, study_id)
