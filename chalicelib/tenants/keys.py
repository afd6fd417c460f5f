"""The format of a key: what is drawn by chance, what is checked offline, what is stored.

A key is ``rgl`` (live) or ``rgt`` (test), 32 base62 characters from the system's secure source
(190 bits) and 6 base62 characters of CRC-32 over the 35 characters before them, most significant
first. Only letters and digits, because API Gateway takes nothing else. The checksum is no
secret: it lets a mistyped key be refused without a look-up, and a leak scanner tell a key from a
word that looks like one.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from typing import TYPE_CHECKING

from chalicelib.errors import KeyUnknown

if TYPE_CHECKING:
    from chalicelib.domain import Mode

# Any part of a text that could be a key; the checksum decides.
PATTERN = re.compile(r"rg[lt][0-9A-Za-z]{38}")

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_PREFIXES: dict[Mode, str] = {"live": "rgl", "test": "rgt"}
_RANDOM_LENGTH = 32
_CHECKSUM_LENGTH = 6


def mint(mode: Mode = "live") -> str:
    """Return a new secret of 41 letters and digits. It exists nowhere else: show it or lose it."""
    body = _PREFIXES[mode] + "".join(secrets.choice(_DIGITS) for _ in range(_RANDOM_LENGTH))
    return body + _checksum(body)


def read(secret: str) -> Mode:
    """Return the mode that a secret claims, without a look-up.

    Raises KeyUnknown when the shape or the checksum is wrong: such a key was never issued.
    """
    if not PATTERN.fullmatch(secret) or _checksum(secret[:-_CHECKSUM_LENGTH]) != secret[-6:]:
        raise KeyUnknown("The API key is not one of ours: it is incomplete or mistyped.")
    return "live" if secret.startswith(_PREFIXES["live"]) else "test"


def sha256(secret: str) -> str:
    """Return the SHA-256 under which a secret is stored, as 64 lower-case hex digits.

    A plain hash suffices: 190 random bits cannot be guessed, so a slow or salted hash would
    only cost time on every request and rule out looking a key up by its hash.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def fingerprint(secret: str) -> str:
    """Check a secret offline and return its SHA-256. Raises KeyUnknown as `read` does."""
    read(secret)
    return sha256(secret)


def hint(secret: str) -> str:
    """Return what may be shown later: prefix and last four characters, e.g. ``rgl…x7Qz``.

    The last four belong to the checksum, so they give away nothing of the random part that
    could be used: 166 of its bits stay unknown.
    """
    return f"{secret[:3]}…{secret[-4:]}"


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_CHECKSUM_LENGTH):
        value, digit = divmod(value, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
