"""Every command and every option stands in docs/cli.md, and nothing else does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from admin_cli.cli import app

DOCUMENT = (Path(__file__).parents[3] / "docs" / "cli.md").read_text(encoding="utf-8")
SECTIONS = {
    found[1]: found[2]
    for found in re.finditer(
        r"^### `radgate (.+?)`\n(.*?)(?=^#|\Z)", DOCUMENT, re.MULTILINE | re.DOTALL
    )
}


def commands(command: Any, path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return all commands that do something, by the words that call them."""
    children = getattr(command, "commands", None)
    if children is None:
        return {" ".join(path): command}
    found: dict[str, Any] = {}
    for name, child in children.items():
        found |= commands(child, (*path, name))
    return found


COMMANDS = commands(get_command(app))


def words_of(heading: str) -> str:
    return " ".join(word for word in heading.split() if word.islower())


def test_the_walk_finds_the_commands() -> None:
    assert {"clients create", "keys issue", "plans list", "local up"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_documented_with_its_arguments_and_options(name: str) -> None:
    [heading] = [heading for heading in SECTIONS if words_of(heading) == name]
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "argument":
            assert parameter.metavar in heading.split()
        elif parameter.name != "help":
            assert f"`{parameter.opts[0]}" in SECTIONS[heading]


def test_nothing_is_documented_that_is_not_there() -> None:
    assert sorted(words_of(heading) for heading in SECTIONS) == sorted(COMMANDS)


def test_the_global_options_are_documented() -> None:
    before = DOCUMENT.split("### ")[0]
    for parameter in get_command(app).params:
        assert f"`{parameter.opts[0]}" in before


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_helps_in_a_sentence(name: str) -> None:
    first = COMMANDS[name].help.strip().split("\n\n")[0]
    assert first.endswith(".")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_an_example_of_the_command(name: str) -> None:
    last = COMMANDS[name].help.strip().split("\n\n")[-1]
    example = re.fullmatch(r"Example: radgate (?:--(?:stage|output) \w+ )*(.+)", last, re.DOTALL)
    assert example is not None
    assert f"{example[1]} ".startswith(f"{name} ")
    # What it shows can be called: every option of it is there.
    options = {word.split("=")[0] for word in example[1].split() if word.startswith("--")}
    assert options <= {option for one in COMMANDS[name].params for option in one.opts}
