"""What has outlived its time: the rows of studies, and documents that no row names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from chalicelib.domain import Client
    from chalicelib.ports.operation import Unreadable


class RetentionStore(Protocol):
    """Finds the studies whose time is over. Every method raises StorageUnavailable."""

    def turn(self, at_most: int, unreadable: Unreadable | None = None) -> tuple[Client, ...]:
        """Return the clients whose turn it is, by id; after the last one it is the first one's.

        `unreadable` is told of records that are no clients; they are passed over.
        """

    def note_turn(self, client_id: str) -> None:
        """Note that this client has had its turn, so that the next run goes on behind it."""

    def old(self, client_id: str, before: datetime, at_most: int) -> tuple[str, ...]:
        """Return the ids of studies made before `before`, oldest first, but for those noted.

        Those that were left come first, again and again until they are erased.
        """

    def note_erased(self, client_id: str, study_id: str) -> None:
        """Note that this study, and every older one of the client that was not left, was erased."""

    def note_left(self, client_id: str, study_id: str) -> bool:
        """Note that this study could not be erased, so that younger ones need not wait for it.

        False, and nothing is noted, when too many of the client were left already.
        """

    def looked_at(self, client_id: str) -> datetime | None:
        """Return when the client's documents were last looked through, None for never."""

    def note_look(self, client_id: str, at: datetime) -> None:
        """Note that the client's documents were looked through."""


class StudyFolders(Protocol):
    """Knows which studies have documents, whatever the table says."""

    def old(self, client_id: str, before: datetime) -> Iterator[str]:
        """Yield the ids of studies made before `before` that have documents, oldest first.

        Reads a page at a time, and nothing of younger ones. Raises StorageUnavailable.
        """
