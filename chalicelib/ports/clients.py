"""Who calls, what it may use, and what signs what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from chalicelib.domain import (
        ApiKey,
        Caller,
        Client,
        SigningSecrets,
        Usage,
    )


class Directory(Protocol):
    """Knows clients and keys."""

    def identify(self, sha256: str) -> Caller | None:
        """Return whose key has this SHA-256, whatever its state. Raises StorageUnavailable."""

    def client(self, client_id: str) -> Client | None:
        """Return a client as it is now. Raises StorageUnavailable."""

    def keys(self, client_id: str) -> tuple[ApiKey, ...]:
        """Return the client's keys that work, and the last 20 that were revoked; oldest first.

        So a list stays short however many keys a client had. Raises StorageUnavailable.
        """

    def note_use(self, key: ApiKey, at: datetime) -> None:
        """Note that a key was used, unless that was noted less than a minute before `at`.

        Raises StorageUnavailable.
        """


class Ledger(Protocol):
    """Counts what clients pay for."""

    def usage(self, client: Client) -> Usage:
        """Return the live studies of the current period. Raises StorageUnavailable."""


class SecretStore(Protocol):
    """Keeps what signs the events of each client."""

    def secrets(self, client_id: str) -> SigningSecrets | None:
        """Return them as they are now, None without a webhook. Raises StorageUnavailable."""
