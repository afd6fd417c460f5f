"""Mails clients that a study has ended, through SES: which one and how, and nothing of its result.

Mail is read on the way and kept for years, so a mail holds no finding, no label and nothing of the
image. Its link leads to a route that asks for a key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.domain import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_sesv2 import SESV2Client

    from chalicelib.domain import Client, Delivery

# One address and nothing else: no name, no list, nothing that could become a header of its own.
# ASCII on both sides, which is what SES takes; of RFC 5322 the atoms without quotes and comments.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})+")
# What no later try can mend. All else may be a limit, a pause or a verification under way.
_FINAL = {"BadRequestException", "ValidationException", "InvalidParameterValue"}
_CHARSET = "UTF-8"
_SIGN_OFF = "Radgate sends this because mail is switched on for your organisation."


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail's words, twice: as plain text and as HTML."""

    subject: str
    text: str
    html: str


class MailCourier:
    """Mails from `sender`; without one, mail is off. `api_url`: tells where the API answers."""

    def __init__(
        self,
        ses: Callable[[], SESV2Client],
        sender: str,
        api_url: Callable[[], str],
        configuration_set: str = "",
    ) -> None:
        self._ses = ses
        self._sender = sender
        self._api_url = api_url
        self._configuration_set = configuration_set

    def tell(self, client: Client, delivery: Delivery) -> Outcome:
        """Hand one mail to SES; delivered means that SES took it. Raises StorageUnavailable."""
        if not self._sender:
            return Outcome(verdict="never", reason="Mail is off: this stage has no sender address.")
        if not is_address(client.email):
            return Outcome(verdict="never", reason="The client's e-mail is not one plain address.")
        letter = write(client, delivery, self._api_url())
        content: Any = {
            "Subject": _part(letter.subject),
            "Body": {"Text": _part(letter.text), "Html": _part(letter.html)},
            # So that no one's holiday notice comes back to it.
            "Headers": [{"Name": "Auto-Submitted", "Value": "auto-generated"}],
        }
        optional: Any = {}
        if self._configuration_set:
            optional["ConfigurationSetName"] = self._configuration_set
        try:
            self._ses().send_email(
                FromEmailAddress=self._sender,
                Destination={"ToAddresses": [client.email]},
                Content={"Simple": content},
                **optional,
            )
        except ClientError as error:
            code = str(error.response["Error"].get("Code", ""))
            # The code alone: SES's text repeats addresses.
            verdict = "never" if code in _FINAL else "later"
            return Outcome(verdict=verdict, reason=f"SES refused the mail: {code[:100]}.")
        except BotoCoreError:
            return Outcome(verdict="later", reason="SES did not answer.")
        return Outcome(verdict="delivered")


def is_address(text: str) -> bool:
    """Tell whether mail can go there: one plain address, without a name and without a list."""
    return _ADDRESS.fullmatch(text) is not None


def write(client: Client, delivery: Delivery, api_url: str) -> Letter:
    """Return the words for an event; `api_url` has no slash at its end."""
    study = delivery.study_id
    if study is None:
        subject, said = "Test of mail", "This is a test. Mail from Radgate reaches you."
        what, link = "", ""
    elif delivery.kind == "study.succeeded":
        subject, said = f"Study {study} has succeeded", f"The study {study} has succeeded."
        what, link = "Its report, with your API key:", f"{api_url}/studies/{study}/report"
    else:
        subject, said = f"Study {study} has failed", f"The study {study} has failed."
        what, link = "Why, with your API key:", f"{api_url}/studies/{study}"
    at = f"{delivery.created_at:%Y-%m-%d %H:%M:%S} UTC"
    facts = [f"Organisation: {client.name}", f"When: {at}"]
    lines = [said, "", *facts]
    blocks = [f"<p>{escape(said)}</p>", "<p>" + "<br>".join(map(escape, facts)) + "</p>"]
    if link:
        call = f'curl -H "x-api-key: $RADGATE_KEY" {link}'
        lines += ["", what, call]
        blocks += [f"<p>{escape(what)}</p>", f"<pre>{escape(call)}</pre>"]
    lines += ["", _SIGN_OFF, ""]
    blocks.append(f"<p>{escape(_SIGN_OFF)}</p>")
    head = f'<meta charset="utf-8"><title>{escape(subject)}</title>'
    html = (
        f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(blocks)}</body></html>'
    )
    return Letter(subject=f"Radgate: {subject}", text="\n".join(lines), html=html)


def _part(text: str) -> dict[str, str]:
    return {"Data": text, "Charset": _CHARSET}
