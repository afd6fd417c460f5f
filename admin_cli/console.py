"""How every command speaks: results on stdout, progress on stderr, one line for an error."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer
from pydantic_core import to_jsonable_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


class CliError(Exception):
    """The command cannot do what was asked. `message`: one line that says what to do about it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Console:
    """The global options, and the way out for results and progress.

    With `json` a command calls `print_json` or `answer` exactly once and `table` or `print` never:
    stdout is then one JSON document and nothing else.
    """

    stage: str
    json: bool = False

    @property
    def interactive(self) -> bool:
        """Whether somebody is there to answer a question."""
        return sys.stdin.isatty()

    def print_json(self, obj: object) -> None:
        """Write `obj` (plain data, domain values, times, paths) to stdout as one JSON document."""
        typer.echo(json.dumps(to_jsonable_python(obj), indent=2, ensure_ascii=False))

    def answer(self, obj: object, words: str) -> None:
        """End a command: with `obj` as JSON where that was asked for, with `words` elsewhere."""
        if self.json:
            self.print_json(obj)
        else:
            self.print(words)

    def info(self, text: str) -> None:
        """Write a line of progress to stderr."""
        typer.echo(text, err=True)

    def print(self, text: str) -> None:
        """Write a line to stdout as it is: no markup, no wrapping, so it can be copied whole."""
        typer.echo(text)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Write a table to stdout that fits the terminal, or 80 columns when there is none.

        Long cells wrap onto the next line instead of being cut, so that nothing is lost. Words
        stay whole while there is room; the first column, which names the row, gives way last.
        """
        # A tenth of a second, for tables alone.
        from rich.console import Console as RichConsole  # noqa: PLC0415

        from admin_cli.tables import table_of  # noqa: PLC0415

        texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
        out = RichConsole(highlight=False)
        out.print(table_of(columns, texts, out.width))

    def facts(self, facts: Iterable[tuple[str, object]]) -> None:
        """Write names and values of one thing to stdout, one pair a line."""
        pairs = [(name, "" if value is None else str(value)) for name, value in facts]
        width = max((len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            self.print(f"{name:{width}}  {value}")

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask on stderr whether to go on, unless `yes`. Raises CliError where nobody can answer."""
        if yes:
            return
        if not self.interactive:
            raise CliError(f"{question} Nobody is there to answer: give --yes")
        typer.confirm(question, abort=True, err=True)

    @contextmanager
    def progress(self, title: str, total: float) -> Iterator[Callable[[float], None]]:
        """Show a bar on stderr, if that is a terminal, while the block runs.

        Yields a function that moves the bar on by so much of `total`.
        """
        from rich.console import Console as RichConsole  # noqa: PLC0415 - as in `table`
        from rich.progress import Progress  # noqa: PLC0415

        stderr = RichConsole(stderr=True)
        with Progress(console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
            task = bar.add_task(title, total=total)
            yield lambda step: bar.advance(task, step)


def console_of(context: typer.Context) -> Console:
    """Return the console that the global options of this command line made."""
    console = context.find_object(Console)
    if console is None:  # a sub-app that is run without its root, as in a test
        console = context.obj = Console(stage="local")
    return console
