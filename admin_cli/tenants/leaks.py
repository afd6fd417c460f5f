"""Finds our keys in files and in all that git keeps, by pattern and then by checksum."""

from __future__ import annotations

import mmap
import os
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from admin_cli.console import CliError
from chalicelib.errors import KeyUnknown
from chalicelib.tenants import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PATTERN = re.compile(keys.PATTERN.pattern.encode())
# A slice of a mapped file is a copy in memory: never of more than so many bytes.
_PIECE = 1 << 20
_GIT = ("git", "-c", "core.fsmonitor=false")


@dataclass
class Findings:
    """Each secret with the places where it stands, and how much was read (`size`: bytes)."""

    # Keys of a dict: in order, each once, and as fast for the thousandth place as for the first.
    places: dict[str, dict[str, None]] = field(default_factory=dict, repr=False)
    files: int = 0
    repositories: int = 0
    size: int = 0
    unreadable: list[str] = field(default_factory=list)

    def add(self, secret: str, place: str) -> None:
        """Note a place, once."""
        self.places.setdefault(secret, {})[place] = None


def keys_in(data: bytes | mmap.mmap) -> Iterator[tuple[int, str]]:
    """Yield place and text of every key; what only looks like one fails its checksum."""
    at = 0
    while found := _PATTERN.search(data, at):
        secret = found[0].decode()
        at = found.end()
        try:
            keys.read(secret)
        except KeyUnknown:
            # A real key may begin within what was none.
            at = found.start() + 1
        else:
            yield found.start(), secret


def lines_of(data: bytes | mmap.mmap) -> Iterator[tuple[int, str]]:
    """Yield line (from 1) and text of every key. Each byte is counted once, in small pieces."""
    line, counted = 1, 0
    for place, secret in keys_in(data):
        for begin in range(counted, place, _PIECE):
            line += data[begin : min(begin + _PIECE, place)].count(b"\n")
        counted = place
        yield line, secret


def scan(paths: list[Path], *, history: bool) -> Findings:
    """Search files, folders with all below them and, with `history`, what their git keeps.

    Links are not followed. Raises CliError for a path that is not there, or when git fails.
    """
    findings = Findings()
    for path in paths:
        if not path.exists():
            raise CliError(f"{path} is not there")
        if path.is_file():
            _scan_file(path, findings)
            continue
        for folder, folders, files in os.walk(path, onerror=_note(findings)):
            here = Path(folder)
            if ".git" in {*folders, *files} or _is_bare(here, folders, files):
                if history:
                    _scan_history(here, findings)
                # Its packs are compressed: only git can read them.
                folders[:] = [] if _is_bare(here, folders, files) else folders
                with suppress(ValueError):
                    folders.remove(".git")
            for name in files:
                _scan_file(here / name, findings)
    return findings


def _is_bare(here: Path, folders: list[str], files: list[str]) -> bool:
    return "HEAD" in files and {"objects", "refs"} <= {*folders} and not (here / ".git").exists()


def _note(findings: Findings) -> Callable[[OSError], None]:
    return lambda error: findings.unreadable.append(str(error.filename))


def _scan_file(path: Path, findings: Findings) -> None:
    if path.is_symlink() or not path.is_file():
        return
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    for line, secret in lines_of(data):
                        findings.add(secret, f"{path}:{line}")
    except (OSError, ValueError):
        findings.unreadable.append(str(path))
        return
    findings.files += 1
    findings.size += size


def _scan_history(repository: Path, findings: Findings) -> None:
    """Search every object of a repository: files of all times, messages, what no branch holds."""
    command = [*_GIT, "-C", str(repository), "cat-file", "--batch-all-objects", "--batch"]
    # Never fetch what a partial clone lacks: a scan of files goes to no network.
    environment = os.environ | {"GIT_NO_LAZY_FETCH": "1"}
    try:
        process = subprocess.Popen(  # noqa: S603 - a fixed command
            [*command, "--buffer", "--unordered"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise CliError("git is not installed: give --no-history to search files alone") from None
    hits: list[tuple[str, str, str]] = []
    with process as git:
        if git.stdout is None:
            raise AssertionError("a pipe was asked for")
        while header := git.stdout.readline():
            name, kind, *size = header.decode().split()
            if not size:  # "missing", in a partial clone
                continue
            body = git.stdout.read(int(size[0]) + 1)
            findings.size += int(size[0])
            hits += [(secret, kind, name) for _, secret in keys_in(body)]
    if process.returncode:
        raise CliError(f"git cannot read {repository}: see `git -C {repository} fsck`")
    findings.repositories += 1
    for secret, kind, name in hits:
        findings.add(secret, f"{repository}: {_where(repository, kind, name)}")


def _where(repository: Path, kind: str, name: str) -> str:
    """Return in which commit and file an object stands."""
    if kind != "blob":
        return f"{kind} {name[:12]}"
    command = [*_GIT, "-C", str(repository), "log", "--all", "--format=%h", "--name-only"]
    told = subprocess.run(  # noqa: S603 - a fixed command and an object's own hash
        [*command, "--no-renames", "--reverse", f"--find-object={name}"],
        capture_output=True,
        check=False,
        text=True,
    )
    lines = [line for line in told.stdout.splitlines() if line]
    if len(lines) < 2:  # noqa: PLR2004 - a commit and a file
        return f"object {name[:12]}, in no branch"
    return f"{lines[1]} since {lines[0]}"
