"""Clients are told: a queued study ends, a signed webhook and a mail arrive, on the whole stack."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest
from pydicom.data import get_testdata_file
from standardwebhooks import Webhook, WebhookVerificationError

from admin_cli.emulator import LOCAL_CREDENTIALS
from tests.fakes.receiver import receiving
from tests.fakes.sink import parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.conftest import Stack
    from tests.fakes.receiver import Received, Receiver
    from tests.fakes.sink import Sink

CLIENT, EMAIL = "told", "ops@told.example"
WITHIN = 240  # seconds for a queued study, with a model to load and two cores for everything
LINES = 5  # of a queued study: of the post, of the worker two, of two deliveries
SECRET_WORDS = ("ardiomegaly", "No finding", "probab", "finding", "PatientName")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    stack.radgate.json(
        *("clients", "create", CLIENT, "--name", "Told & <Sons>", "--email", EMAIL),
        *("--plan", "clinic", "--mail", "on"),
    )
    return str(stack.radgate.json("keys", "issue", CLIENT)["secret"])


@pytest.fixture(scope="module")
def secret(stack: Stack, key: str, receiver: Receiver) -> str:
    assert key
    url = f"http://127.0.0.1:{receiver.port}/hooks/radgate"
    made = stack.radgate.json("webhooks", "set", CLIENT, url)
    assert made["webhook"]["url"] == url
    return str(made["secret"])


def eventually(found: Callable[[], Any], within: float = WITHIN) -> Any:
    deadline = time.monotonic() + within
    while not (answer := found()):
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.2)
    return answer


def queue(stack: Stack, key: str, image: bytes) -> tuple[str, str]:
    """Queue an image; return the study's id and the request's."""
    answer = httpx.post(
        f"{stack.api_url}/studies", content=image, headers={"x-api-key": key}, timeout=120
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"]), answer.headers["x-request-id"]


def logged(stack: Stack, request_id: str) -> list[dict[str, Any]]:
    """Return the lines of all functions' logs that have a request's id."""
    region = LOCAL_CREDENTIALS["AWS_DEFAULT_REGION"]
    session = boto3.session.Session("test", "test", region_name=region)
    logs = session.client("logs", endpoint_url=stack.aws_url)
    found: list[dict[str, Any]] = []
    for group in logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]:
        events = logs.filter_log_events(
            logGroupName=group["logGroupName"], filterPattern=f'"{request_id}"'
        )["events"]
        lines = (json.loads(one["message"]) for one in events if one["message"].startswith("{"))
        found += [line for line in lines if line.get("request_id") == request_id]
    return found


def verified(received: Received, secret: str) -> dict[str, Any]:
    return dict(Webhook(secret).verify(received.body, received.headers))


def test_a_test_event_takes_the_whole_way(stack: Stack, receiver: Receiver, secret: str) -> None:
    ended = stack.radgate.json("webhooks", "test", CLIENT)
    assert (ended["status"], ended["attempt"], ended["kind"]) == ("delivered", 1, "test")
    [received] = receiver.requests
    event = verified(received, secret)
    assert (event["type"], event["data"]) == ("test", {})
    assert received.headers["webhook-id"] == ended["id"]


def test_a_receiver_that_refuses_is_told_of(stack: Stack, receiver: Receiver, secret: str) -> None:
    assert secret
    receiver.status = 503
    try:
        done = stack.radgate.run("webhooks", "test", CLIENT)
    finally:
        receiver.status = 204
    assert done.returncode == 1
    assert done.stderr.strip().endswith("was not delivered: The server answered 503.")
    newest = stack.radgate.json("webhooks", "log", CLIENT, "--limit", "1")
    assert [(one["status"], one["last_error"]) for one in newest] == [
        ("failed", "The server answered 503.")
    ]


def test_during_a_rotation_both_secrets_verify(
    stack: Stack, receiver: Receiver, secret: str
) -> None:
    new = stack.radgate.json("webhooks", "rotate", CLIENT, "--overlap", "1h")["secret"]
    assert stack.radgate.json("webhooks", "test", CLIENT)["status"] == "delivered"
    for one in (secret, new):
        assert verified(receiver.requests[-1], one)["type"] == "test"
    with pytest.raises(WebhookVerificationError):
        verified(receiver.requests[-1], "whsec_" + "A" * 44)


@pytest.mark.parametrize(
    ("image", "outcome"), [("RG1_J2KI.dcm", "succeeded"), (None, "failed")], ids=str
)
def test_a_queued_study_s_end_is_told_by_both_channels(  # noqa: PLR0917 - fixtures
    stack: Stack,
    receiver: Receiver,
    sink: Sink,
    key: str,
    secret: str,
    image: str | None,
    outcome: str,
) -> None:
    path = get_testdata_file(image, download=False) if image else None
    body = Path(str(path)).read_bytes() if path else b"\x89PNG\r\n\x1a\nbroken"
    study, request_id = queue(stack, key, body)

    def told() -> Received | None:
        mine = (one for one in receiver.requests if study.encode() in one.body)
        return next(mine, None)

    event = verified(eventually(told), secret)
    assert event["type"] == f"study.{outcome}"
    assert event["data"] == {"id": study, "status": outcome}
    mails = eventually(lambda: [mail for to, mail in sink.mails if study in str(mail["Subject"])])
    [mail] = mails
    assert (mail["To"], mail["From"]) == (EMAIL, "radgate@radgate.example")
    parts = parts_of(mail)
    link = f"{stack.api_url}/studies/{study}" + ("/report" if outcome == "succeeded" else "")
    assert link in parts["text/plain"]
    assert "Told &amp; &lt;Sons&gt;" in parts["text/html"]
    for word in SECRET_WORDS:
        assert word not in mail.as_string() + json.dumps(event)
    answer = httpx.get(link, headers={"x-api-key": key}, timeout=120)
    assert answer.status_code == 200
    assert httpx.get(link, timeout=120).status_code == 403

    def noted() -> bool:
        log = stack.radgate.json("webhooks", "log", CLIENT)
        mine = {one["channel"]: one["status"] for one in log if one["study_id"] == study}
        return mine == {"mail": "delivered", "webhook": "delivered"}

    eventually(noted)
    # The log comes with the end of each call.
    lines = eventually(lambda: len(found := logged(stack, request_id)) >= LINES and found)
    assert sorted((line["message"], line.get("channel", "")) for line in lines) == [
        ("begun", ""),
        ("delivery", "mail"),
        ("delivery", "webhook"),
        ("request", ""),
        ("study", ""),
    ]
    assert {line["study_id"] for line in lines} == {study}
    assert all(line["function_request_id"] != request_id for line in lines)


def test_nothing_secret_is_in_the_trail(stack: Stack, secret: str) -> None:
    trail = json.dumps(stack.radgate.json("audit", "log", "--client", CLIENT))
    assert "webhook.set" in trail
    assert secret not in trail
    assert "/hooks" not in trail
    assert stack.radgate.run("audit", "verify").returncode == 0


def test_a_removed_webhook_is_called_no_more(stack: Stack, secret: str, key: str) -> None:
    assert secret
    assert key
    for removed in (True, False):
        told = stack.radgate.json("webhooks", "remove", CLIENT, "--yes")
        assert told == {"client": CLIENT, "removed": removed}
    assert stack.radgate.run("webhooks", "test", CLIENT).returncode == 1
