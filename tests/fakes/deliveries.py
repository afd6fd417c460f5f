"""Deliveries without a table, a queue or a network: what their service is tested with."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from chalicelib.domain import Delivery, Health, Notice, Outcome, SigningSecrets, new_id
from chalicelib.ports import Courier, DeliveryStore, HealthStore, Outbox, SecretStore
from tests.fakes.values import NOON

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from chalicelib.domain import Client
    from chalicelib.ports import Clock, Unreadable

_Place = tuple[str, str, str]


class FakeDeliveryStore(DeliveryStore):
    """Deliveries in a dictionary."""

    def __init__(self) -> None:
        self._kept: dict[_Place, Delivery] = {}
        self.erased_studies: set[tuple[str, str]] = set()

    def get(self, client_id: str, event_id: str, channel: str) -> Delivery | None:
        return self._kept.get((client_id, event_id, channel))

    def add(self, delivery: Delivery) -> None:
        self._kept.setdefault(_place(delivery), delivery)

    def advance(self, before: Delivery, after: Delivery) -> bool:
        known = self._kept.get(_place(before))
        if known is None or _standing(known) != _standing(before):
            return False
        self._kept[_place(before)] = after
        return True

    def due(self, now: datetime, unreadable: Unreadable | None = None) -> Iterator[Delivery]:
        del unreadable
        for delivery in list(self._kept.values()):
            if delivery.next_at is not None and delivery.next_at <= now:
                yield delivery

    def erased(self, client_id: str, study_id: str) -> bool:
        return (client_id, study_id) in self.erased_studies

    def log(self, client_id: str, limit: int) -> tuple[Delivery, ...]:
        own = (one for place, one in self._kept.items() if place[0] == client_id)
        newest = sorted(own, key=lambda one: (one.id, one.channel), reverse=True)
        return tuple(newest[:limit])


class FakeHealthStore(HealthStore):
    """How webhooks have fared, in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[str, Health] = {}

    def health(self, client_id: str) -> Health:
        return self.kept.get(client_id, Health())

    def advance(self, client_id: str, before: Health, after: Health) -> bool:
        if _fared(self.health(client_id)) != _fared(before):
            return False
        self.kept[client_id] = after
        return True


class FakeOutbox(Outbox):
    """Keeps what was sent, but for what is due in more than 10 minutes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.sent: list[Delivery] = []

    def send(self, delivery: Delivery) -> None:
        if delivery.next_at and delivery.next_at <= self._clock() + timedelta(minutes=10):
            self.sent.append(delivery)


@dataclass
class FakeCourier(Courier):
    """Notes whom it told what, and answers one outcome after the other, the last one for good."""

    outcomes: list[Outcome] = field(default_factory=lambda: [Outcome(verdict="delivered")])
    told: list[tuple[Client, Delivery]] = field(default_factory=list)

    def tell(self, client: Client, delivery: Delivery) -> Outcome:
        self.told.append((client, delivery))
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]


class FakeSecretStore(SecretStore):
    """The secrets of each client; `put` adds or replaces."""

    def __init__(self) -> None:
        self._kept: dict[str, SigningSecrets] = {}

    def put(self, client_id: str, secrets: SigningSecrets) -> None:
        self._kept[client_id] = secrets

    def secrets(self, client_id: str) -> SigningSecrets | None:
        return self._kept.get(client_id)


def a_delivery(**fields: Any) -> Delivery:
    defaults: dict[str, object] = {
        "id": new_id("evt"),
        "client_id": "acme",
        "channel": "webhook",
        "kind": "study.succeeded",
        "study_id": "st_01JD8Z5M3Q4R6S7T8V9W0XYZAB",
        "created_at": NOON,
        "next_at": NOON,
    }
    return Delivery.model_validate(defaults | fields)


def notice_of(delivery: Delivery) -> Notice:
    return Notice(client_id=delivery.client_id, event_id=delivery.id, channel=delivery.channel)


def _place(delivery: Delivery) -> _Place:
    return delivery.client_id, delivery.id, delivery.channel


def _fared(health: Health) -> tuple[object, ...]:
    return health.url, health.failing_since, health.off_since


def _standing(delivery: Delivery) -> tuple[object, ...]:
    return delivery.status, delivery.attempt, delivery.next_at
