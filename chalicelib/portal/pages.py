"""Makes the three documents that a browser opens, each whole in one answer, with its headers."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from chalicelib import errors
from chalicelib.domain import MAX_UPLOAD_BYTES
from chalicelib.inputs import MAX_BODY_BYTES
from chalicelib.portal import openapi, reference
from chalicelib.portal.advice import ADVICE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_ASSETS = Path(__file__).with_name("assets")
_STYLE = re.compile(r'<link rel="stylesheet" href="([a-z]+\.css)">')
_SCRIPT = re.compile(r'<script src="([a-z]+\.js)"></script>')
# Nothing is loaded from anywhere, nothing may frame a page, no form leads away from it.
_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# Where an error's own words say what is wrong and not whom to ask. The others need no more.
_HINTS = (errors.KeyUnknown, errors.KeyExpired, errors.KeyRevoked, errors.ClientSuspended)
_SECONDS = 300  # that a browser may show a page without asking whether it has changed


@dataclass(frozen=True, slots=True)
class Page:
    """A document and who may do what with it. `policy`: its Content-Security-Policy."""

    body: bytes
    media_type: str
    policy: str = _NOTHING

    @property
    def etag(self) -> str:
        """A name for this very text under this very policy."""
        digest = hashlib.sha256(self.policy.encode() + b"\n" + self.body)
        return f'"{digest.hexdigest()[:32]}"'

    @property
    def headers(self) -> dict[str, str]:
        """Everything but the request's id."""
        return {
            "Content-Type": self.media_type,
            "Cache-Control": f"public, max-age={_SECONDS}",
            "ETag": self.etag,
            "Content-Security-Policy": self.policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
        }


class Pages:
    """Makes each page once. `storage` returns the origin of presigned links and uploads."""

    def __init__(self, storage: Callable[[], str]) -> None:
        self._storage = storage

    @cached_property
    def openapi(self) -> Page:
        """The OpenAPI document."""
        text = json.dumps(openapi.document(), ensure_ascii=False, separators=(",", ":"))
        return Page(text.encode(), "application/json")

    @cached_property
    def reference(self) -> Page:
        """The OpenAPI document for people."""
        return _page(reference.html(json.loads(self.openapi.body)), "style-src")

    @cached_property
    def portal(self) -> Page:
        """The client portal. It talks to this API and to the storage, nothing else."""
        storage = self._storage()
        html = _text("portal.html").replace("{limits}", _data(_limits()))
        hints = {kind.code: ADVICE[kind] for kind in _HINTS}
        return _page(
            html.replace("{advice}", _data(hints)),
            "style-src",
            "script-src",
            f"img-src data: blob: {storage}",
            f"connect-src 'self' {storage}",
            # A string can become neither markup nor script, whatever an answer holds.
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )


def _page(html: str, *rules: str) -> Page:
    """Return a page of `html` with its styles and scripts put in, allowed by their hashes alone."""
    styles = [_text(name) for name in _STYLE.findall(html)]
    scripts = [_text(name) for name in _SCRIPT.findall(html)]
    hashes = {"style-src": _hashes(styles), "script-src": _hashes(scripts)}
    html = _STYLE.sub(lambda found: f"<style>{_text(found[1])}</style>", html)
    html = _SCRIPT.sub(lambda found: f"<script>{_text(found[1])}</script>", html)
    policy = "; ".join([_NOTHING, *(" ".join([rule, *hashes.get(rule, ())]) for rule in rules)])
    return Page(html.encode(), "text/html; charset=utf-8", policy)


def _hashes(parts: Iterable[str]) -> list[str]:
    digests = (hashlib.sha256(part.encode()).digest() for part in parts)
    return [f"'sha256-{b64encode(digest).decode()}'" for digest in digests]


def _limits() -> dict[str, int]:
    return {"body": MAX_BODY_BYTES, "upload": MAX_UPLOAD_BYTES}


def _data(value: object) -> str:
    """Return JSON that no text within can end the script element of."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def _text(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
