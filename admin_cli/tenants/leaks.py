"""Finds our keys in files, by pattern and then by checksum; and in what git keeps of them."""

from __future__ import annotations

import mmap
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from admin_cli.console import CliError
from admin_cli.tenants import git_objects
from chalicelib.errors import KeyUnknown
from chalicelib.tenants import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PATTERN = re.compile(keys.PATTERN.pattern.encode())
# The same in UTF-16 of either byte order, from the first letter's byte to the last one's.
_WIDE = re.compile(rb"r\0g\0[lt](?:\0[0-9A-Za-z]){38}")
# In so many bytes a text in UTF-16 has a letter whose other byte is nought.
_BEGINNING = 4096
# A slice of a mapped file is a copy in memory: never of more than so many bytes.
_PIECE = 1 << 20


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


def keys_in(data: bytes | mmap.mmap) -> list[tuple[int, str]]:
    """Return place and text of every key, in order, as bytes of ASCII or in UTF-16."""
    found = [*_matches(_PATTERN, data)]
    # A second look costs as much as the first: text in UTF-16 shows itself early.
    if b"\0" in data[:_BEGINNING]:
        found = sorted([*found, *_matches(_WIDE, data)])
    return found


def _matches(pattern: re.Pattern[bytes], data: bytes | mmap.mmap) -> Iterator[tuple[int, str]]:
    """Yield what has the checksum of a key; what only looks like one fails it."""
    at = 0
    while found := pattern.search(data, at):
        # Of UTF-16 every second byte.
        secret = found[0].replace(b"\0", b"").decode()
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
                    _scan_git(here, findings)
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


def _scan_git(repository: Path, findings: Findings) -> None:
    hits: list[tuple[str, str, str]] = []
    for kind, name, body in git_objects.every(repository):
        findings.size += len(body)
        hits += [(secret, kind, name) for _, secret in keys_in(body)]
    findings.repositories += 1
    files = {name for _, kind, name in hits if kind == "blob"}
    first = git_objects.first_places(repository, files) if files else {}
    for secret, kind, name in hits:
        lost = f"object {name[:12]}, in no branch"
        place = first.get(name, lost) if kind == "blob" else f"{kind} {name[:12]}"
        findings.add(secret, f"{repository}: {place}")
