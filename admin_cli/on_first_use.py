"""Commands that are imported when they are first asked for.

A command line runs one command. With all of them imported and their options read, most of the
time of many would go into what they do not use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pkgutil import resolve_name
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group


class CommandsOnFirstUse(Mapping[str, Any]):
    """The commands of a group by name; `places` has for each "module:name" of it.

    What is found there is a function, which is a command, or a `typer.Typer`, which is a group.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places
        self._made: dict[str, Any] = {}  # typer's type of a command is private

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401
        if name not in self._made:
            found, around = resolve_name(self._places[name]), typer.Typer()
            if isinstance(found, typer.Typer):
                around.add_typer(found, name=name)
            else:
                around.command(name)(found)
            self._made[name] = get_group(around).commands[name]
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def group_of(places: Mapping[str, str]) -> type[TyperGroup]:
    """Return the class of a group with these commands, for `typer.Typer(cls=...)`."""
    shared = CommandsOnFirstUse(places)

    class Group(TyperGroup):
        def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - whatever typer gives
            super().__init__(**(settings | {"commands": shared}))

    return Group
