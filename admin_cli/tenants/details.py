"""What the details of clients and keys may be, as the command line takes them.

Whatever no stage could make use of is wrong usage, and is said before a stage is asked.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

import typer

from chalicelib.delivery.mail import is_address

_CLIENT_ID = re.compile(r"[a-z0-9][a-z0-9-]{1,62}")
_KEY_ID = re.compile(r"key_[0-9A-Z]{26}")
_NAME, _LABEL, _EMAIL = 200, 100, 254  # characters at most
# Control characters, line and paragraph separators, halves of characters.
_UNSHOWN = {"Cc", "Zl", "Zp", "Cs"}


def parse_client_id(text: str) -> str:
    """Return the id of a client that is to be. Raises BadParameter."""
    if not _CLIENT_ID.fullmatch(text):
        raise typer.BadParameter(
            "2 to 63 lower-case letters, digits and hyphens, no hyphen at the beginning"
        )
    return text


def parse_name(text: str) -> str:
    """Return an organisation's name. Raises BadParameter."""
    if not text.strip() or len(text) > _NAME:
        raise typer.BadParameter(f"a name has 1 to {_NAME} characters")
    return _one_line(text)


def parse_label(text: str) -> str:
    """Return a key's label, which may be empty. Raises BadParameter."""
    if len(text) > _LABEL:
        raise typer.BadParameter(f"a label has at most {_LABEL} characters")
    return _one_line(text)


def parse_email(text: str) -> str:
    """Return an address to which mail can go. Raises BadParameter."""
    if len(text) > _EMAIL or not is_address(text):
        raise typer.BadParameter("one plain address, such as it@acme.example")
    return text


def parse_key_id(text: str) -> str:
    """Return the id of a key. Raises BadParameter."""
    if not _KEY_ID.fullmatch(text):
        # It is not repeated: someone may have pasted the secret itself.
        raise typer.BadParameter("that is not the id of a key: see `keys list`")
    return text


def _one_line(text: str) -> str:
    """Refuse control characters: what is shown in a terminal must not steer it."""
    if any(unicodedata.category(letter) in _UNSHOWN for letter in text):
        raise typer.BadParameter("one line of plain text, without control characters")
    return text


NewClientId = Annotated[
    str,
    typer.Argument(
        parser=parse_client_id,
        metavar="ID",
        help="2 to 63 lower-case letters, digits and hyphens; for good.",
    ),
]
NameOption = Annotated[
    str, typer.Option(parser=parse_name, metavar="TEXT", help="The organisation's name.")
]
EmailOption = Annotated[
    str, typer.Option(parser=parse_email, metavar="TEXT", help="Where to reach its operators.")
]
NewNameOption = Annotated[
    str | None, typer.Option(parser=parse_name, metavar="TEXT", help="The organisation's name.")
]
NewEmailOption = Annotated[
    str | None,
    typer.Option(parser=parse_email, metavar="TEXT", help="Where to reach its operators."),
]
LabelOption = Annotated[
    str,
    typer.Option(parser=parse_label, metavar="TEXT", help="A name to tell keys apart, no secret."),
]
KeyArgument = Annotated[
    str,
    typer.Argument(parser=parse_key_id, metavar="KEY_ID", help="The key's id, not its secret."),
]
