"""What a mail says, what it must never say, and what becomes of SES's answers."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.delivery.mail import Letter, MailCourier, write
from chalicelib.domain import Outcome
from chalicelib.errors import StorageUnavailable
from tests.fakes.deliveries import a_delivery
from tests.fakes.values import NOON, a_client, a_study

if TYPE_CHECKING:
    from mypy_boto3_sesv2 import SESV2Client

    from chalicelib.domain import Client

API = "https://api.example/v1"
SENDER = "radgate@mail.example"
STUDY = a_delivery().study_id


@pytest.fixture
def ses() -> SESV2Client:
    return boto3.client(
        "sesv2",
        region_name="eu-central-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
    )


class Reader(HTMLParser):
    """Collects what a mail program would show, and the tags that made it so."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


# --- the words --------------------------------------------------------------------------


def test_a_success_names_the_study_and_where_its_report_is() -> None:
    letter = write(a_client(), a_delivery(), API)
    assert letter.subject == f"Radgate: Study {STUDY} has succeeded"
    for said in (letter.text, Reader(letter.html).text):
        assert f"The study {STUDY} has succeeded." in said
        assert f"{API}/studies/{STUDY}/report" in said
        assert "x-api-key" in said
        assert "Acme Radiology" in said
        assert f"{NOON:%Y-%m-%d %H:%M:%S} UTC" in said


def test_a_failure_names_the_study_and_where_its_reason_is() -> None:
    letter = write(a_client(), a_delivery(kind="study.failed"), API)
    assert letter.subject == f"Radgate: Study {STUDY} has failed"
    for said in (letter.text, Reader(letter.html).text):
        assert f"The study {STUDY} has failed." in said
        assert f"{API}/studies/{STUDY}" in said
        assert "/report" not in said


def test_a_test_names_no_study() -> None:
    letter = write(a_client(), a_delivery(kind="test", study_id=None), API)
    assert letter.subject == "Radgate: Test of mail"
    for said in (letter.text, Reader(letter.html).text):
        assert "This is a test." in said
        assert "studies" not in said


def test_a_mail_says_nothing_of_the_result() -> None:
    """It is written without the study: whatever the result was, the words are the same."""
    study = a_study()
    letter = write(a_client(), a_delivery(study_id=study.id), API)
    whole = letter.subject + letter.text + letter.html
    for secret in ("ardiomegaly", "0.91", "probab", "finding", "cardionet", "b" * 64):
        assert secret not in whole


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200))
def test_a_client_s_name_is_shown_as_it_is_and_makes_no_markup(name: str) -> None:
    letter = write(a_client(name=name), a_delivery(), API)
    read = Reader(letter.html)
    assert f"Organisation: {name}" in read.text
    plain = Reader(write(a_client(), a_delivery(), API).html)
    assert read.tags == plain.tags
    assert read.attributes == plain.attributes
    assert letter.subject == write(a_client(), a_delivery(), API).subject


def test_markup_in_a_name_is_text() -> None:
    letter = write(a_client(name='<script>alert("x")</script>'), a_delivery(), API)
    assert "<script" not in letter.html
    assert "&lt;script&gt;" in letter.html


# --- the post ---------------------------------------------------------------------------


def courier(ses: SESV2Client, sender: str = SENDER, configuration_set: str = "") -> MailCourier:
    return MailCourier(lambda: ses, sender, lambda: API, configuration_set)


def expected(letter: Letter, **more: Any) -> dict[str, Any]:
    body = {
        kind: {"Data": text, "Charset": "UTF-8"}
        for kind, text in (("Text", letter.text), ("Html", letter.html))
    }
    content = {
        "Subject": {"Data": letter.subject, "Charset": "UTF-8"},
        "Body": body,
        "Headers": [{"Name": "Auto-Submitted", "Value": "auto-generated"}],
    }
    return {
        "FromEmailAddress": SENDER,
        "Destination": {"ToAddresses": ["ops@acme.example"]},
        "Content": {"Simple": content},
    } | more


def test_ses_gets_both_forms_for_one_address(ses: SESV2Client) -> None:
    client, delivery = a_client(), a_delivery()
    with Stubber(ses) as stub:
        stub.add_response("send_email", {"MessageId": "1"}, expected(write(client, delivery, API)))
        assert courier(ses).tell(client, delivery) == Outcome(verdict="delivered")
        stub.assert_no_pending_responses()


def test_a_configuration_set_is_named_where_there_is_one(ses: SESV2Client) -> None:
    client, delivery = a_client(), a_delivery()
    parameters = expected(write(client, delivery, API), ConfigurationSetName="radgate-prod")
    with Stubber(ses) as stub:
        stub.add_response("send_email", {"MessageId": "1"}, parameters)
        told = courier(ses, configuration_set="radgate-prod").tell(client, delivery)
        assert told.verdict == "delivered"


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("TooManyRequestsException", "later"),
        ("LimitExceededException", "later"),
        ("SendingPausedException", "later"),
        ("AccountSuspendedException", "later"),
        ("MailFromDomainNotVerifiedException", "later"),
        ("MessageRejected", "later"),
        ("InternalFailure", "later"),
        ("BadRequestException", "never"),
    ],
)
def test_what_ses_refuses_is_noted_by_its_code(ses: SESV2Client, code: str, verdict: str) -> None:
    with Stubber(ses) as stub:
        stub.add_client_error("send_email", code, "not verified: ops@acme.example", 400)
        told = courier(ses).tell(a_client(), a_delivery())
    assert told == Outcome.model_validate(
        {"verdict": verdict, "reason": f"SES refused the mail: {code}."}
    )


def test_a_code_of_any_length_fits_the_log(ses: SESV2Client) -> None:
    with Stubber(ses) as stub:
        stub.add_client_error("send_email", "X" * 5000)
        assert len(courier(ses).tell(a_client(), a_delivery()).reason) <= 200


def test_without_an_answer_of_ses_it_is_tried_again() -> None:
    nowhere = boto3.client(
        "sesv2",
        region_name="eu-central-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
        endpoint_url="http://127.0.0.1:1",
        config=Config(retries={"total_max_attempts": 1}),
    )
    told = courier(nowhere).tell(a_client(), a_delivery())
    assert told == Outcome(verdict="later", reason="SES did not answer.")


def test_without_a_sender_mail_is_off(ses: SESV2Client) -> None:
    with Stubber(ses):  # any call would fail
        told = courier(ses, sender="").tell(a_client(), a_delivery())
    assert told.verdict == "never"
    assert told.reason.startswith("Mail is off")


def unusable(email: str) -> Client:
    return a_client(email=email)


@pytest.mark.parametrize(
    "email",
    [
        "a@b.example, c@d.example",
        "a@b.example;c@d.example",
        "Ops <ops@acme.example>",
        "ops@acme.example\r\nBcc: all@acme.example",
        "ops@acme.example\n",
        "ops@@acme.example",
        "ops@localhost",
        "no address",
        '"a b"@acme.example',
        "abc",
        "op\x00s@acme.example",
        "ops\x7f@acme.example",
        "öps@acme.example",
        "ops.@acme.example",
        "ops@-acme.example",
        "ops@acme..example",
    ],
)
def test_what_is_not_one_plain_address_is_not_mailed(ses: SESV2Client, email: str) -> None:
    with Stubber(ses):
        assert courier(ses).tell(unusable(email), a_delivery()).verdict == "never"


def test_an_address_that_is_not_known_yet_is_asked_for_again(ses: SESV2Client) -> None:
    def not_deployed() -> str:
        raise StorageUnavailable("The deployment is not recorded yet.")

    with Stubber(ses), pytest.raises(StorageUnavailable):
        MailCourier(lambda: ses, SENDER, not_deployed).tell(a_client(), a_delivery())
