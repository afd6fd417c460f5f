"""A server with TLS on this machine that plays the world."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from chalicelib.delivery import signature
from chalicelib.delivery.webhook import Network, WebhookCourier
from chalicelib.domain import Outcome, SigningSecrets
from tests.fakes.clock import FixedClock
from tests.fakes.deliveries import FakeSecretStore, a_delivery
from tests.fakes.receiver import receiving
from tests.fakes.values import NOON, a_client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from chalicelib.domain import Delivery
    from tests.fakes.receiver import Receiver

SECRET = signature.new_secret()
PUBLIC = "93.184.215.14"
DELIVERED = Outcome(verdict="delivered")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server(authority: trustme.CA) -> Iterator[Receiver]:
    """A server whose certificate is of hooks.example and of the public address it plays."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hooks.example", PUBLIC).configure_cert(tls)
    with receiving(tls) as receiver:
        yield receiver


@dataclass
class Internet:
    """DNS as a table of answers, each name's in turn, and one server behind every address."""

    server: Receiver
    authority: trustme.CA
    names: dict[str, list[list[str]]] = field(default_factory=lambda: {"hooks.example": [[PUBLIC]]})
    unreachable: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    connected: list[tuple[str, int]] = field(default_factory=list)

    def resolve(self, host: str, port: int) -> list[str]:
        del port
        self.asked.append(host)
        answers = self.names.get(host, [[host]])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def connect(self, address: tuple[str, int], seconds: float) -> socket.socket:
        self.connected.append(address)
        if address[0] in self.unreachable:
            raise ConnectionRefusedError
        return socket.create_connection(("127.0.0.1", self.server.port), seconds)

    def trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def tell(
        self,
        url: str = "https://hooks.example/xray?a=b",
        delivery: Delivery | None = None,
        *,
        now: datetime = NOON,
        secrets: SigningSecrets | None = None,
        **network: Any,
    ) -> Outcome:
        store = FakeSecretStore()
        store.put("acme", secrets or SigningSecrets(current=SECRET))
        options: dict[str, Any] = {
            "resolve": self.resolve,
            "connect": self.connect,
            "trust": self.trust,
        }
        courier = WebhookCourier(store, FixedClock(now), Network(**options | network))
        return courier.tell(a_client(webhook=url), delivery or a_delivery())


@pytest.fixture
def internet(server: Receiver, authority: trustme.CA) -> Internet:
    return Internet(server, authority)
