"""What git keeps: every object with its bytes, and the commit and file in which one first stood."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet
    from pathlib import Path

_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
# Within a hook these name the hook's own repository, which git would read instead of each other.
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR")
# Begins a commit in the log; a line of `--raw` begins with a colon.
_COMMIT = "commit "


class Unreadable(Exception):
    """Git cannot read a repository, or not all of it; the text says why."""


def every(repository: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield kind, hash and bytes of every object, also of what no branch holds.

    Raises Unreadable when git is not installed or cannot read all of the repository; what came
    before is good, and where a single object's header is damaged all others come first.
    """
    command = ("cat-file", "--batch-all-objects", "--batch", "--buffer", "--unordered")
    damaged = False
    with _output(repository, *command) as (process, output):
        while header := output.readline():
            name, kind, *size = header.decode().split()
            # "missing", though it is there. What a partial clone lacks is not even listed.
            if not size:
                damaged = True
                continue
            yield kind, name, output.read(int(size[0]) + 1)[:-1]
    if process.returncode or damaged:
        raise Unreadable(f"git cannot read all of it, see `git -C {repository} fsck`")


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
    except OSError as error:
        reason = "git is not installed" if isinstance(error, FileNotFoundError) else str(error)
        raise Unreadable(f"{reason}; --no-history searches files alone") from None
    # Leaving closes the pipe, which ends a git that would write on, and waits for its end.
    with process:
        if process.stdout is None:
            raise AssertionError("a pipe was asked for")
        yield process, process.stdout
