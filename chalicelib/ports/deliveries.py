"""What tells clients: the deliveries, their queue, the channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from chalicelib.domain import (
        Client,
        Delivery,
        Health,
        Outcome,
    )
    from chalicelib.ports.operation import Unreadable


class DeliveryStore(Protocol):
    """Remembers what must be told. Every method raises StorageUnavailable."""

    def get(self, client_id: str, event_id: str, channel: str) -> Delivery | None:
        """Return a delivery, None when there is no such one."""

    def add(self, delivery: Delivery) -> None:
        """Store a delivery that no study's end has stored, such as a test."""

    def advance(self, before: Delivery, after: Delivery) -> bool:
        """Replace `before`, if it still stands, by `after`. False when another was faster."""

    def due(self, now: datetime, unreadable: Unreadable | None = None) -> Iterator[Delivery]:
        """Yield the pending deliveries whose `next_at` has come.

        `unreadable` is told of records that are no deliveries; they are passed over.
        """

    def erased(self, client_id: str, study_id: str) -> bool:
        """Tell whether a study was erased, so that nobody is to be told of it any more."""

    def log(self, client_id: str, limit: int) -> tuple[Delivery, ...]:
        """Return a client's deliveries, newest first."""


class HealthStore(Protocol):
    """Remembers how each client's webhook has fared. Every method raises StorageUnavailable."""

    def health(self, client_id: str) -> Health:
        """Return what is known, an empty one for a webhook that nothing is known of."""

    def advance(self, client_id: str, before: Health, after: Health) -> bool:
        """Replace `before`, if it still stands, by `after`. False when another was faster."""


class Outbox(Protocol):
    """Carries deliveries to the function that makes them, at least once."""

    def send(self, delivery: Delivery) -> None:
        """Send, to arrive at `next_at`; what is due in more than 10 minutes is not sent at all.

        The sweeper rings for it when its time has come. Raises StorageUnavailable.
        """


class Courier(Protocol):
    """Tells a client an event over one channel."""

    def tell(self, client: Client, delivery: Delivery) -> Outcome:
        """Try once. Whatever the other side does is an outcome and no error.

        Raises StorageUnavailable when something of our own did not answer.
        """
