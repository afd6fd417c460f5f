"""Where studies and their documents are kept, and how they are forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from chalicelib.domain import (
        Caller,
        Job,
        Link,
        Study,
        StudyPage,
        StudyStatus,
    )


class StudyStore(Protocol):
    """Keeps studies, each under its client; no method can reach another client's."""

    def add(self, caller: Caller, study: Study) -> None:
        """Store a new study and, for a live key, meter one unit, both or neither.

        Raises QuotaExceeded (nothing is stored) or StorageUnavailable.
        """

    def get(self, client_id: str, study_id: str) -> Study:
        """Return a study without its link. Raises NotFound or StorageUnavailable."""

    def page(
        self, client_id: str, limit: int, cursor: str | None, status: StudyStatus | None
    ) -> StudyPage:
        """Return studies newest first, without links. Raises InvalidRequest for a bad cursor."""


class DocumentStore(Protocol):
    """Keeps a study's documents, each under its client's own prefix, each by its name.

    Every method raises NotFound for an id or a name that cannot have been given out.
    """

    def put(self, client_id: str, study_id: str, name: str, body: bytes) -> None:
        """Store a document; storing it again replaces it. Raises StorageUnavailable."""

    def states(self, client_id: str, study_id: str) -> dict[str, str]:
        """Return a study's documents by name, each with what tells its content from any other.

        Raises StorageUnavailable.
        """

    def put_over(
        self, client_id: str, study_id: str, name: str, body: bytes, state: str | None
    ) -> bool:
        """Store a document where `state` is still what lies there; otherwise do nothing, False.

        `state`: of `states`, None where there was no such document.
        Raises StorageUnavailable, after which it may be stored all the same.
        """

    def link(self, client_id: str, study_id: str, name: str) -> Link:
        """Return a freshly signed link, valid for 15 minutes. Raises StorageUnavailable."""

    def delete(self, client_id: str, study_id: str, name: str) -> None:
        """Erase a document; one that is not there is no error. Raises StorageUnavailable."""

    def delete_all(self, client_id: str, study_id: str) -> None:
        """Erase every document of a study; none there is no error. Raises StorageUnavailable."""


class Erasure(Protocol):
    """Forgets studies. Every method raises StorageUnavailable."""

    def begin(self, client_id: str, study_id: str) -> Job:
        """Make a study of any state `deleted`, and keep a job that remembers its objects.

        Of the study stay its id, its `created_at` and its mode. The job has no lease, so that a
        worker that is at it can no longer finish; it lies where `JobStore.stuck` finds it until
        `end`. Twice is no error. Raises NotFound.
        """

    def end(self, job: Job) -> None:
        """Drop the job, unless a worker may still be at the study: then the sweeper comes again."""
