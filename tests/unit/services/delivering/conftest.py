"""Deliveries over their whole life on fakes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chalicelib.domain import TELL_FOR, Outcome
from chalicelib.services.delivering import DeliveryService
from chalicelib.services.switching import Switch
from tests.fakes.clock import FixedClock
from tests.fakes.deliveries import (
    FakeCourier,
    FakeDeliveryStore,
    FakeHealthStore,
    FakeOutbox,
    a_delivery,
    notice_of,
)
from tests.fakes.operations import FakeMonitor
from tests.fakes.tenants import FakeDirectory
from tests.fakes.values import NOON, a_client

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from chalicelib.domain import Client, Delivery

DONE = Outcome(verdict="delivered")
AGAIN = Outcome(verdict="later", reason="The server answered 503.")
NEVER = Outcome(verdict="never", reason="The server answered 410, gone for good.")
HOOK = "https://hooks.example/xray"


@dataclass
class World:
    """The service with everything it works on; `chance` is what it draws."""

    clock: FixedClock = field(default_factory=lambda: FixedClock(NOON))
    store: FakeDeliveryStore = field(default_factory=FakeDeliveryStore)
    directory: FakeDirectory = field(default_factory=FakeDirectory)
    mail: FakeCourier = field(default_factory=FakeCourier)
    webhook: FakeCourier = field(default_factory=FakeCourier)
    health: FakeHealthStore = field(default_factory=FakeHealthStore)
    monitor: FakeMonitor = field(default_factory=FakeMonitor)
    chance: float = 0.5
    client: Client = field(default_factory=lambda: a_client(mail=True, webhook=HOOK))

    def __post_init__(self) -> None:
        self.outbox = FakeOutbox(self.clock)
        self.directory.put(self.client)

    def service(self, wrap: Callable[[Any], Any] = lambda part: part) -> DeliveryService:
        """Return the service as a new process would have it, with its parts wrapped."""
        return DeliveryService(
            store=wrap(self.store),
            directory=wrap(self.directory),
            outbox=wrap(self.outbox),
            couriers={"mail": wrap(self.mail), "webhook": wrap(self.webhook)},
            switch=Switch(wrap(self.health), self.monitor, self.clock),
            monitor=self.monitor,
            clock=self.clock,
            chance=lambda: self.chance,
        )

    def have(self, **fields: Any) -> Delivery:
        delivery = a_delivery(**fields)
        self.store.add(delivery)
        return delivery

    def now(self, delivery: Delivery) -> Delivery:
        found = self.store.get(delivery.client_id, delivery.id, delivery.channel)
        assert found is not None
        return found

    def sweep_until_done(self, delivery: Delivery, longest: timedelta = TELL_FOR * 2) -> None:
        """Ring for what is due, every minute, as the sweeper does, until it has ended."""
        end = self.clock.now + longest
        while self.now(delivery).status == "pending" and self.clock.now < end:
            for due in self.store.due(self.clock.now):
                self.service().deliver(notice_of(due))
            self.clock.advance(60)
