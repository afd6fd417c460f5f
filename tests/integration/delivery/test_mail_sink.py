"""Mail on its whole way: our words, the local SES, SMTP, and what a mail program then has."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import boto3
import pytest

from admin_cli import emulator
from chalicelib.delivery.mail import MailCourier, write
from chalicelib.domain import Outcome
from tests.fakes.deliveries import a_delivery
from tests.fakes.sink import mail_sink, parts_of
from tests.fakes.values import a_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_sesv2 import SESV2Client

    from tests.fakes.sink import Sink

API = "https://api.example/v1"
SENDER = "radgate@mail.example"


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with mail_sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def ses(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SESV2Client]:
    home = tmp_path_factory.mktemp("emulator")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMTP_HOST", sink.host)
        try:
            client = boto3.client(
                "sesv2",
                endpoint_url=emulator.start(home).url,
                region_name=emulator.REGION,
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )
            client.create_email_identity(EmailIdentity="mail.example")
            yield client
        finally:
            emulator.stop(home)


def courier(ses: SESV2Client, sender: str = SENDER) -> MailCourier:
    return MailCourier(lambda: ses, sender, lambda: API)


def test_a_sender_that_is_not_verified_is_refused(ses: SESV2Client, sink: Sink) -> None:
    told = courier(ses, "radgate@other.example").tell(a_client(), a_delivery())
    assert told == Outcome(verdict="later", reason="SES refused the mail: MessageRejected.")
    assert sink.mails == []


@pytest.mark.parametrize("kind", ["study.succeeded", "study.failed"])
def test_a_mail_arrives_whole(ses: SESV2Client, sink: Sink, kind: str) -> None:
    sink.mails.clear()
    client, delivery = a_client(name="Müller & <Söhne>"), a_delivery(kind=kind)
    assert courier(ses).tell(client, delivery) == Outcome(verdict="delivered")
    deadline = time.monotonic() + 30
    while not sink.mails and time.monotonic() < deadline:
        time.sleep(0.05)
    [(to, mail)] = sink.mails
    letter = write(client, delivery, API)
    assert to == ["ops@acme.example"]
    assert (mail["From"], mail["To"]) == (SENDER, "ops@acme.example")
    assert mail["Subject"] == letter.subject
    parts = parts_of(mail)
    assert parts["text/plain"].splitlines() == letter.text.splitlines()
    assert parts["text/html"].strip() == letter.html
    assert "Müller & <Söhne>" in parts["text/plain"]
    assert "Müller &amp; &lt;Söhne&gt;" in parts["text/html"]
