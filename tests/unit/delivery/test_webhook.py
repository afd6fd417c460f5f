"""Webhooks over real sockets and real TLS, to a server on this machine that plays the world."""

from __future__ import annotations

import json
import socket
import ssl
import time
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from chalicelib.delivery import signature
from chalicelib.delivery.webhook import Network, WebhookCourier, event_body, retry_after
from chalicelib.domain import Outcome, SigningSecrets
from tests.fakes.clock import FixedClock
from tests.fakes.deliveries import FakeSecretStore, a_delivery
from tests.fakes.receiver import receiving
from tests.fakes.values import NOON, a_client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from http.server import BaseHTTPRequestHandler

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


# --- what is sent -----------------------------------------------------------------------


def test_an_event_arrives_whole_and_signed(internet: Internet) -> None:
    delivery = a_delivery()
    assert internet.tell(delivery=delivery) == DELIVERED
    [received] = internet.server.requests
    assert received.path == "/xray?a=b"
    assert received.headers["host"] == "hooks.example"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["webhook-id"] == delivery.id
    assert received.headers["webhook-timestamp"] == str(int(NOON.timestamp()))
    assert json.loads(received.body) == {
        "type": "study.succeeded",
        "timestamp": f"{NOON:%Y-%m-%dT%H:%M:%S}.000Z",
        "data": {"id": delivery.study_id, "status": "succeeded"},
    }


def test_the_specification_s_library_takes_it(internet: Internet) -> None:
    from datetime import UTC, datetime  # noqa: PLC0415 - the library looks at today's clock

    old = signature.new_secret()
    now = datetime.now(UTC)
    both = SigningSecrets(current=SECRET, former=old, former_until=now.replace(year=now.year + 1))
    assert internet.tell(now=now, secrets=both) == DELIVERED
    [received] = internet.server.requests
    for secret in (SECRET, old):
        Webhook(secret).verify(received.body, received.headers)


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        ({"kind": "study.failed"}, {"id": a_delivery().study_id, "status": "failed"}),
        ({"kind": "test", "study_id": None}, {}),
    ],
)
def test_each_kind_of_event_has_its_body(fields: dict[str, Any], data: dict[str, str]) -> None:
    event = json.loads(event_body(a_delivery(**fields)))
    assert event["type"] == fields["kind"]
    assert event["data"] == data


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("0", timedelta(0)),
        (" 120 ", timedelta(minutes=2)),
        ("9" * 400, timedelta(seconds=999_999_999)),
        (format_datetime(NOON + timedelta(hours=3), usegmt=True), timedelta(hours=3)),
        (format_datetime(NOON - timedelta(hours=3), usegmt=True), timedelta(0)),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("Fri, 99 Foo 2026 10:00:00 GMT", None),
        ("", None),
    ],
)
def test_a_busy_server_says_when_to_come_again(
    internet: Internet, status: int, text: str, wait: timedelta | None
) -> None:
    internet.server.status = status
    internet.server.headers["Retry-After"] = text
    outcome = internet.tell()
    assert (outcome.verdict, outcome.wait) == ("later", wait)


def test_only_a_busy_server_is_asked_when(internet: Internet) -> None:
    internet.server.status = 500
    internet.server.headers["Retry-After"] = "120"
    assert internet.tell().wait is None


@given(st.text())
def test_no_retry_after_is_more_than_a_wait(text: str) -> None:
    wait = retry_after(text, NOON)
    assert wait is None or wait >= timedelta(0)


def test_a_retry_has_the_same_body_and_another_time(internet: Internet) -> None:
    delivery = a_delivery()
    internet.tell(delivery=delivery)
    internet.tell(delivery=delivery.model_copy(update={"attempt": 4}), now=NOON.replace(hour=13))
    first, second = internet.server.requests
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]


# --- what comes back --------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_success_is_a_delivery(internet: Internet, status: int) -> None:
    internet.server.status = status
    assert internet.tell() == DELIVERED


@pytest.mark.parametrize("status", [300, 301, 302, 304, 307, 400, 401, 404, 409, 429, 500, 503])
def test_all_else_is_tried_again(internet: Internet, status: int) -> None:
    internet.server.status = status
    assert internet.tell() == Outcome(verdict="later", reason=f"The server answered {status}.")


def test_gone_is_not_tried_again(internet: Internet) -> None:
    internet.server.status = 410
    assert internet.tell().verdict == "never"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(internet: Internet, status: int) -> None:
    internet.server.status = status
    internet.server.headers = {"Location": "http://169.254.169.254/latest/meta-data/"}
    assert internet.tell().verdict == "later"
    assert internet.asked == ["hooks.example"]
    assert internet.connected == [(PUBLIC, 443)]
    assert len(internet.server.requests) == 1


def test_a_huge_answer_is_not_read_to_its_end(internet: Internet) -> None:
    sent = 0

    def flood(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(5000):  # 320 MB
                handler.wfile.write(bytes(64_000))
                sent += 64_000
        except OSError:
            pass

    internet.server.answer = flood
    assert internet.tell() == DELIVERED
    assert sent < 30_000_000  # what the buffers of two sockets take


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\nX-Long: "])
def test_an_answer_that_drips_is_cut_off(internet: Internet, begin: bytes) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        try:
            handler.wfile.write(begin)
            for _ in range(600):
                handler.wfile.write(b"x")
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass

    internet.server.answer = drip
    begun = time.monotonic()
    outcome = internet.tell(answer_seconds=1.0)
    assert time.monotonic() - begun < 15
    assert outcome == Outcome(verdict="later", reason="The server did not answer in time.")


def test_a_server_that_says_nothing_is_left(internet: Internet) -> None:
    internet.server.answer = lambda _handler: time.sleep(3)
    outcome = internet.tell(answer_seconds=0.5)
    assert outcome == Outcome(verdict="later", reason="The server did not answer in time.")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "The server's answer is not HTTP."),
        (b"", "The connection to the server failed."),
    ],
)
def test_an_answer_that_is_none_is_tried_again(
    internet: Internet, answer: bytes, reason: str
) -> None:
    def say(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(answer)

    internet.server.answer = say
    assert internet.tell() == Outcome(verdict="later", reason=reason)


def test_no_reason_repeats_what_the_server_said(internet: Internet) -> None:
    def say(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(500, "patient-name")
        handler.send_header("X-Note", "patient-name")
        handler.end_headers()
        handler.wfile.write(b"patient-name")

    internet.server.answer = say
    assert "patient" not in internet.tell().reason


# --- where it may go --------------------------------------------------------------------


def test_the_connection_goes_to_the_address_that_was_checked(internet: Internet) -> None:
    """DNS that answers differently the second time is never asked a second time."""
    internet.names["hooks.example"] = [[PUBLIC], ["127.0.0.1"]]
    assert internet.tell() == DELIVERED
    assert internet.asked == ["hooks.example"]
    assert internet.connected == [(PUBLIC, 443)]
    assert internet.tell().verdict == "never"  # asked anew for the next event, and refused
    assert internet.connected == [(PUBLIC, 443)]


@pytest.mark.parametrize(
    "private",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:10.0.0.1", "fd00:ec2::254"],
)
def test_a_private_address_is_never_connected_to(internet: Internet, private: str) -> None:
    for found in ([private], [PUBLIC, private], [private, PUBLIC]):
        internet.names["hooks.example"] = [found]
        outcome = internet.tell()
        assert (outcome.verdict, internet.connected) == ("never", [])


def test_a_bad_url_is_not_even_resolved(internet: Internet) -> None:
    for url in ("http://hooks.example/", "https://169.254.169.254/", "https://u:p@hooks.example/"):
        assert internet.tell(url).verdict == "never"
    assert internet.asked == []


def test_a_name_without_an_address_may_get_one(internet: Internet) -> None:
    internet.names["hooks.example"] = [[]]
    outcome = internet.tell()
    assert (outcome.verdict, internet.connected) == ("later", [])


def test_of_several_addresses_the_first_that_answers_is_used(internet: Internet) -> None:
    internet.names["hooks.example"] = [["2606:4700::1", "1.1.1.1", PUBLIC]]
    internet.unreachable = {"1.1.1.1"}
    assert internet.tell() == DELIVERED
    assert internet.connected == [("1.1.1.1", 443), (PUBLIC, 443)]
    assert len(internet.server.requests) == 1


def test_only_so_many_addresses_are_tried(internet: Internet) -> None:
    found = [f"1.1.1.{number}" for number in range(1, 9)]
    internet.names["hooks.example"] = [found]
    internet.unreachable = set(found)
    outcome = internet.tell()
    assert outcome == Outcome(verdict="later", reason="The connection to the server failed.")
    assert len(internet.connected) == 3


# --- whom it trusts ---------------------------------------------------------------------


def test_a_certificate_must_be_of_the_name(internet: Internet) -> None:
    internet.names["other.example"] = [[PUBLIC]]
    outcome = internet.tell("https://other.example/")
    assert outcome.reason == "The server's certificate is not valid for its name."
    assert internet.server.requests == []


def test_a_certificate_of_the_address_alone_will_not_do(internet: Internet) -> None:
    """The server's certificate is of the address it plays, too; the name is what counts."""
    assert internet.tell(f"https://{PUBLIC}/") == DELIVERED
    internet.names["other.example"] = [[PUBLIC]]
    assert internet.tell("https://other.example/").verdict == "later"


def test_an_authority_must_be_known(internet: Internet) -> None:
    outcome = internet.tell(trust=ssl.create_default_context)
    assert outcome.reason == "The server's certificate is not valid for its name."
    assert internet.server.requests == []


def test_a_server_without_tls_gets_nothing(authority: trustme.CA) -> None:
    with receiving() as plain:
        outcome = Internet(plain, authority).tell()
        assert outcome == Outcome(
            verdict="later", reason="The server and we could not agree on TLS."
        )
        assert plain.requests == []


def test_a_webhook_without_a_secret_is_not_called(internet: Internet) -> None:
    options: Any = {"resolve": internet.resolve, "connect": internet.connect}
    courier = WebhookCourier(FakeSecretStore(), FixedClock(NOON), Network(**options))
    outcome = courier.tell(a_client(webhook="https://hooks.example/"), a_delivery())
    assert (outcome.verdict, internet.connected) == ("never", [])


# --- the local stage --------------------------------------------------------------------


def test_this_machine_is_called_where_that_is_allowed() -> None:
    store = FakeSecretStore()
    store.put("acme", SigningSecrets(current=SECRET))
    with receiving() as receiver:
        client = a_client(webhook=f"http://127.0.0.1:{receiver.port}/hook")
        local = WebhookCourier(store, FixedClock(NOON), Network(loopback=True))
        assert local.tell(client, a_delivery()) == DELIVERED
        assert WebhookCourier(store, FixedClock(NOON)).tell(client, a_delivery()).verdict == "never"
        assert len(receiver.requests) == 1
