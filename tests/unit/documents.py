"""The documented command lines, for tests that run or check them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(
    r"^(?P<mark><!-- run -->\n)?```\w*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_PROMPT = "$ "
OMITTED = "…"


@dataclass(frozen=True, slots=True)
class Shown:
    """One command of a document and what it is shown to print.

    `run`: whether its block says that a test runs it.
    """

    document: str
    run: bool
    command: str
    printed: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """The command line as the shell would part it."""
        return shlex.split(self.command, comments=True)


def commands(document: str) -> list[Shown]:
    """Return the lines after a prompt in the code blocks of `docs/<document>`, in their order."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    found: list[Shown] = []
    for block in _FENCE.finditer(text):
        command, printed = "", list[str]()
        for line in [*block["text"].splitlines(), _PROMPT]:
            if line.startswith(_PROMPT):
                if command:
                    found.append(Shown(document, bool(block["mark"]), command, tuple(printed)))
                command, printed = line.removeprefix(_PROMPT), []
            elif command.endswith("\\"):
                command = command.removesuffix("\\") + line.strip()
            else:
                printed.append(line)
    return found


def prints(shown: Shown, output: str) -> bool:
    """Tell whether the output is the shown one, but for what `…` leaves out and outer blanks."""
    pieces = "\n".join(shown.printed).strip().split(f"{OMITTED}\n")
    rest = "\n".join(line.rstrip() for line in output.splitlines()).strip() + "\n"
    place = 0
    for number, piece in enumerate(pieces):
        wanted = piece.removesuffix(OMITTED).strip("\n")
        found = rest.find(wanted, place)
        if found < 0 or (number == 0 and found > 0):
            return False
        place = found + len(wanted)
    return pieces[-1].endswith(OMITTED) or not rest[place:].strip()
