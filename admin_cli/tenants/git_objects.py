"""What git keeps: every object with its bytes, and the commit and file in which one first stood."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from admin_cli.console import CliError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet
    from pathlib import Path

_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
# Within a hook these name the hook's own repository, which git would read instead of each other.
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR")
# Begins a commit in the log; a line of `--raw` begins with a colon.
_COMMIT = "commit "


def every(repository: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield kind, hash and bytes of every object, also of what no branch holds.

    Raises CliError when git is not installed or cannot read the repository.
    """
    command = ("cat-file", "--batch-all-objects", "--batch", "--buffer", "--unordered")
    with _output(repository, *command) as (process, output):
        while header := output.readline():
            name, kind, *size = header.decode().split()
            if not size:  # "missing", in a partial clone
                continue
            yield kind, name, output.read(int(size[0]) + 1)[:-1]
    if process.returncode:
        raise CliError(f"git cannot read {repository}: see `git -C {repository} fsck`")


def first_places(repository: Path, names: AbstractSet[str]) -> dict[str, str]:
    """Return for each file's object its file and first commit; what no branch holds is left out.

    One pass over the history for all of them, oldest commit first, which ends with the last one
    found. A merge shows what none of its parents has. Where git cannot read on, as in a clone
    without all trees, the rest is left out: a key that was found is told in any case.
    """
    places: dict[str, str] = {}
    options = ("--all", "--reverse", "--raw", "--no-abbrev", "--no-renames", "--no-color")
    shown = ("--diff-merges=combined", "--no-show-signature", f"--format={_COMMIT}%h")
    # A user's settings must not leave out the first commit.
    command = ("-c", "log.showRoot=true", "log", *options, *shown)
    with _output(repository, *command) as (_, output):
        commit = ""
        for raw in output:
            line = raw.decode(errors="replace").rstrip("\n")
            if line.startswith(_COMMIT):
                commit = line.removeprefix(_COMMIT)
            elif line.startswith(":"):
                fields, _, path = line.partition("\t")
                # Modes and hashes of the file before, in each parent, and after; then a letter.
                name = fields.split()[-2]
                if name in names and name not in places:
                    places[name] = f"{path} since {commit}"
                    if len(places) == len(names):
                        return places
    return places


@contextmanager
def _output(repository: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Run git and give its output; what is left of it when the block ends is not waited for."""
    # Never fetch what a partial clone lacks: a scan of files goes to no network.
    environment = os.environ | {"GIT_NO_LAZY_FETCH": "1"}
    for name in _ELSEWHERE:
        environment.pop(name, None)
    try:
        process = subprocess.Popen(  # noqa: S603 - fixed commands
            [*_GIT, "-C", str(repository), *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise CliError("git is not installed: give --no-history to search files alone") from None
    # Leaving closes the pipe, which ends a git that would write on, and waits for its end.
    with process:
        if process.stdout is None:
            raise AssertionError("a pipe was asked for")
        yield process, process.stdout
