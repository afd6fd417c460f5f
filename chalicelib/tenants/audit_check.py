"""The check of the audit trail: the first place where the chain does not hold, and why."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import ValidationError

from chalicelib.domain import Value
from chalicelib.tenants.audit import AuditEntry, entry_item, origin, sha256, sort_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from chalicelib.tenants.records import Item

ANCHOR = re.compile(r"(\d{1,12}):([0-9a-f]{64})")


class Break(Value):
    """The first entry that is not what it was, by number, and what is amiss with it."""

    number: int
    reason: str


class Verdict(Value):
    """What the check found; `broken` is None when the chain is whole.

    `anchor`: number and hash of the last entry. Who keeps it elsewhere can prove later that
    nothing before it was changed, even by someone who rewrote the whole chain.
    """

    entries: int
    anchor: str
    broken: Break | None = None


def verify(
    table_name: str,
    head: Callable[[], tuple[int, str]],
    records: Callable[[], Iterable[Item]],
    anchor: str = "",
) -> Verdict:
    """Follow the chain from its origin to the head, which may move on meanwhile.

    `anchor`: ``number:hash`` of an earlier verdict, which must still be in the chain.
    """
    number, last = 0, origin(table_name)
    kept_number, kept_hash = _read_anchor(anchor)
    at_first = head()
    for item in records():
        reason = _amiss(item, number + 1, last)
        if reason is None and number + 1 == kept_number and item["hash"] != kept_hash:
            reason = "is another than the one whose hash was kept: the chain was rewritten"
        if reason is not None:
            return _verdict(number, last, Break(number=number + 1, reason=reason))
        number, last = number + 1, str(item["hash"])
        if number == at_first[0] and last != at_first[1]:
            reason = "is not the entry that the head names"
            return _verdict(number, last, Break(number=number, reason=reason))
    wanted = max(at_first[0], kept_number)
    if number < wanted:
        reason = f"is missing, as is all up to {wanted}: the end was cut off"
        return _verdict(number, last, Break(number=number + 1, reason=reason))
    if number > (behind := head()[0]):
        reason = "stands behind the head: the head was moved back"
        return _verdict(number, last, Break(number=behind + 1, reason=reason))
    return _verdict(number, last, None)


def _verdict(entries: int, last: str, broken: Break | None) -> Verdict:
    return Verdict(entries=entries, anchor=f"{entries}:{last}", broken=broken)


def _read_anchor(anchor: str) -> tuple[int, str]:
    found = ANCHOR.fullmatch(anchor)
    return (int(found[1]), found[2]) if found else (0, "")


def _amiss(item: Item, number: int, previous: str) -> str | None:
    """Return what is wrong with the record that should hold entry `number`, or None."""
    if item["sk"] != sort_key(number):
        return "is missing"
    if sha256(str(item.get("document"))) != item.get("hash"):
        return "was changed: its text does not have its hash"
    try:
        entry = AuditEntry.model_validate_json(str(item["document"]))
    except ValidationError:
        return "cannot be read"
    if (entry.number, entry.previous) != (number, previous):
        return "does not follow the entry before it"
    if entry_item(entry) != item:
        return "was changed: it is not filed under its own client"
    return None
