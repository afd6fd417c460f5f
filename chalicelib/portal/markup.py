"""Builds HTML as a tree, so that no text can become markup."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, tostring

Part = Element | str | None
_CODE = re.compile(r"`([^`]*)`")


def make(tag: str, *parts: Part, **attributes: str) -> Element:
    """Return an element with these texts and elements; `class_` and `for_` stand for the words.

    An underscore in a name becomes a hyphen.
    """
    made = Element(tag, {_name(name): value for name, value in attributes.items()})
    add(made, *parts)
    return made


def add(element: Element, *parts: Part) -> None:
    """Append texts and elements; None is nothing."""
    for part in parts:
        if isinstance(part, Element):
            element.append(part)
        elif part is not None:
            last = element[-1] if len(element) else None
            if last is None:
                element.text = (element.text or "") + part
            else:
                last.tail = (last.tail or "") + part


def prose(text: str) -> list[Part]:
    """Return text in which what stands between backticks is code."""
    return [
        make("code", part) if index % 2 else part for index, part in enumerate(_CODE.split(text))
    ]


def html(root: Element) -> str:
    """Return the whole document."""
    return "<!doctype html>\n" + tostring(root, encoding="unicode", method="html")


def _name(name: str) -> str:
    return name.rstrip("_").replace("_", "-")
