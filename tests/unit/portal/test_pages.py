"""The pages: whole in themselves, allowed nothing but what they need, hidden from no reader."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser

import pytest

from chalicelib.portal.advice import codes
from chalicelib.portal.markup import html, make, prose
from chalicelib.portal.operations import OPERATIONS
from chalicelib.portal.pages import Page, Pages

STORAGE = "https://bucket.s3.example"
PAGES = Pages(lambda: STORAGE)
HTML = {"portal": PAGES.portal, "reference": PAGES.reference}


class Seen(HTMLParser):
    """Collects what a browser would see of a page's elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[tuple[str, str]] = []
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        known = dict(attrs)
        self._open = tag if tag in {"style", "script"} and "type" not in known else ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.inline.append((self._open, data))

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


def seen(page: Page) -> Seen:
    return Seen(page.body.decode())


@pytest.mark.parametrize("name", HTML)
def test_nothing_is_loaded_from_anywhere(name: str) -> None:
    for tag, attributes in seen(HTML[name]).elements:
        assert "src" not in attributes, tag
        if tag == "link":
            assert (attributes["href"] or "").startswith("data:")
        if tag == "a" and "href" in attributes:
            assert not (attributes["href"] or "").startswith(("/", "http")), "below any stage"


@pytest.mark.parametrize("name", HTML)
def test_the_policy_allows_the_page_s_own_styles_and_scripts_and_no_others(name: str) -> None:
    page = HTML[name]
    wanted: dict[str, list[str]] = {"style": [], "script": []}
    for tag, text in seen(page).inline:
        wanted[tag].append(f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'")
    for tag, hashes in wanted.items():
        found = re.search(f"{tag}-src ([^;]*)", page.policy)
        assert (found[1].split() if found else []) == hashes
    assert wanted["style"]
    assert bool(wanted["script"]) == (name == "portal")
    for tag, attributes in seen(page).elements:
        forbidden = [a for a in attributes if a == "style" or a.startswith("on")]
        assert forbidden == [], f"{tag} has what the policy blocks"


@pytest.mark.parametrize("page", [*HTML.values(), PAGES.openapi])
def test_every_page_is_closed_to_others(page: Page) -> None:
    rules = dict(rule.partition(" ")[::2] for rule in page.policy.split("; "))
    for name in ("default-src", "base-uri", "form-action", "frame-ancestors"):
        assert rules[name] == "'none'"
    assert "unsafe" not in page.policy
    assert "*" not in page.policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"


def test_the_portal_talks_to_this_api_and_its_storage_alone() -> None:
    rules = dict(rule.partition(" ")[::2] for rule in PAGES.portal.policy.split("; "))
    assert rules["connect-src"] == f"'self' {STORAGE}"
    assert rules["img-src"] == f"data: blob: {STORAGE}"
    assert rules["require-trusted-types-for"] == "'script'"


def test_the_key_is_in_no_form_that_a_browser_could_send() -> None:
    fields = [a for tag, a in seen(PAGES.portal).elements if tag in {"input", "select"}]
    assert any(field.get("id") == "key" for field in fields)
    assert all(field.get("name") in {None, "pace"} for field in fields)
    scripts = "".join(text for tag, text in seen(PAGES.portal).inline if tag == "script")
    assert "localStorage" not in scripts
    assert "document.cookie" not in scripts
    assert "innerHTML" not in scripts


def test_every_field_has_a_label_and_every_button_a_kind() -> None:
    text = PAGES.portal.body.decode()
    for tag, attributes in seen(PAGES.portal).elements:
        if tag == "button":
            assert attributes.get("type") in {"button", "submit"}
    labels = re.findall(r"<label[^>]*>.*?</label>", text, re.DOTALL)
    held = sum(len(re.findall(r"<(?:input|select)\b", label)) for label in labels)
    named = text.count('<label for="key">')
    assert held + named == len(re.findall(r"<(?:input|select)\b", text))


def test_the_portal_knows_whom_to_ask_and_the_limits_of_the_service() -> None:
    text = PAGES.portal.body.decode()
    found = dict(re.findall(r'<script type="application/json" id="(\w+)">(.*?)</script>', text))
    hints = json.loads(found["advice"])
    assert hints.keys() == {code for code, status in codes().items() if status == 403} - {
        "insufficient_scope"
    }
    assert not any("`" in hint for hint in hints.values()), "words for a developer"
    assert json.loads(found["limits"]) == {"body": 4_500_000, "upload": 100_000_000}


def test_the_reference_shows_every_route_and_every_code() -> None:
    ids = {attributes.get("id") for _, attributes in seen(PAGES.reference).elements}
    shown = {one.name for one in OPERATIONS if one.method != "HEAD"}
    assert shown <= ids
    assert codes().keys() <= ids
    targets = {a["href"] for tag, a in seen(PAGES.reference).elements if tag == "a"}
    inner = {target[1:] for target in targets if target and target.startswith("#")}
    assert inner <= ids


def test_an_etag_changes_with_text_and_policy() -> None:
    page = Page(b"a", "text/html")
    assert page.etag == Page(b"a", "text/html").etag
    assert page.etag != Page(b"b", "text/html").etag
    assert page.etag != Page(b"a", "text/html", "default-src 'self'").etag


def test_text_never_becomes_markup() -> None:
    evil = '<img src=x onerror="alert(1)">&'
    made = html(make("p", *prose(f"{evil} `{evil}`"), title=evil))
    assert Seen(made).elements == [("p", {"title": evil}), ("code", {})]


def test_a_page_is_made_once() -> None:
    asked: list[int] = []
    pages = Pages(lambda: asked.append(1) or STORAGE)  # type: ignore[func-returns-value]
    assert pages.openapi is pages.openapi
    assert pages.reference is pages.reference
    assert asked == [], "the storage is asked for when the portal is, not before"
    assert pages.portal is pages.portal
    assert asked == [1]
