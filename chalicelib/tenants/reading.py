"""Hides how a record that does not validate is passed over: one of them must not stop a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from chalicelib.ports import Unreadable
    from chalicelib.tenants.records import Item

Read = TypeVar("Read")


def readable(
    items: Iterable[Item], read: Callable[[Item], Read], unreadable: Unreadable | None
) -> Iterator[Read]:
    """Yield what `read` makes of each record, and tell `unreadable` of those it cannot read.

    It is told the record's keys, which are ids alone. Without it the error is raised.
    """
    for item in items:
        try:
            value = read(item)
        except (ValueError, KeyError, TypeError) as error:  # pydantic's are ValueErrors
            if unreadable is None:
                raise
            unreadable(error, pk=str(item["pk"]), sk=str(item["sk"]))
        else:
            yield value
