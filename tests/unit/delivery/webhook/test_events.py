"""What is sent, and what the answer makes of the delivery."""

from __future__ import annotations

import json
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
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
from tests.unit.delivery.webhook.conftest import DELIVERED, PUBLIC, SECRET, Internet


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


def test_a_webhook_without_a_secret_is_not_called(internet: Internet) -> None:
    options: Any = {"resolve": internet.resolve, "connect": internet.connect}
    courier = WebhookCourier(FakeSecretStore(), FixedClock(NOON), Network(**options))
    outcome = courier.tell(a_client(webhook="https://hooks.example/"), a_delivery())
    assert (outcome.verdict, internet.connected) == ("never", [])


def test_this_machine_is_called_where_that_is_allowed() -> None:
    store = FakeSecretStore()
    store.put("acme", SigningSecrets(current=SECRET))
    with receiving() as receiver:
        client = a_client(webhook=f"http://127.0.0.1:{receiver.port}/hook")
        local = WebhookCourier(store, FixedClock(NOON), Network(loopback=True))
        assert local.tell(client, a_delivery()) == DELIVERED
        assert WebhookCourier(store, FixedClock(NOON)).tell(client, a_delivery()).verdict == "never"
        assert len(receiver.requests) == 1
