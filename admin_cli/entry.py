"""Where the command `radgate` begins; says what it lacks before it imports what others made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

_HOME = Path(__file__).resolve().parents[1]
# What the commands read beside the package; a wheel has none of it.
_FILES = ("app.py", "plans.toml", "prices.toml", "stages.toml", ".chalice/foundation.yaml")


def lacking() -> str | None:
    """Say in a line that this is no checkout of the repository, or return None."""
    if all((_HOME / name).is_file() for name in _FILES):
        return None
    return (
        "works from a checkout of its repository alone: run `make venv` there, "
        "then .venv/bin/radgate"
    )


def main() -> NoReturn:
    """Run the process's own arguments and exit."""
    if refusal := lacking():
        sys.exit(f"radgate: {refusal}")
    try:
        from admin_cli.__main__ import main as begin  # noqa: PLC0415 - see above
    except ModuleNotFoundError as error:
        sys.exit(f"radgate: {error.name} is not installed: run `make venv` in {_HOME}")
    begin()
