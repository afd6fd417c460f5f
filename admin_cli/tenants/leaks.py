"""Finds our keys in files, by pattern and then by checksum; and in what git keeps of them."""

from __future__ import annotations

import mmap
import os
import re
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from admin_cli.console import CliError
from admin_cli.tenants import git_objects
from chalicelib.tenants import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from admin_cli.tenants.key_check import Found

# Where a key may begin, as bytes of ASCII and, from the first letter's byte to the last one's, in
# UTF-16 of either byte order; by the bytes from one character to the next.
_PATTERNS = {
    1: re.compile(keys.PATTERN.pattern.encode()),
    2: re.compile(rb"r\0g\0[lt](?:\0[0-9A-Za-z]){38}"),
}
# In so many bytes a text in UTF-16 has a letter whose other byte is nought.
_BEGINNING = 4096
# A slice of a mapped file is a copy in memory: never of more than so many bytes.
_PIECE = 1 << 20
# So many bytes are checked at once, as fits into a processor's cache.
CHECKED = 1 << 17
_SPAN = 41  # characters of a key


@dataclass
class Findings:
    """Each secret with the places where it stands, and how much was read (`size`: bytes).

    A place is a file with the lines in it, or something that git keeps, which has none.
    """

    places: dict[str, dict[str, list[int]]] = field(default_factory=dict, repr=False)
    files: int = 0
    repositories: int = 0
    size: int = 0
    unreadable: list[str] = field(default_factory=list)

    def add(self, secret: str, place: str, lines: list[int]) -> None:
        """Note a place; the same one a second time changes nothing."""
        self.places.setdefault(secret, {})[place] = lines

    def places_of(self, secret: str) -> Iterator[str]:
        """Yield in words where a secret stands, each place once."""
        for place, lines in self.places[secret].items():
            # Keys of a dict: in order, and a line once that has the key twice.
            yield from (f"{place}:{line}" for line in dict.fromkeys(lines)) if lines else (place,)


def keys_in(data: bytes | mmap.mmap) -> list[tuple[int, str]]:
    """Return place and text of every key, as bytes of ASCII or in UTF-16."""
    return [
        (begin + place, secret.decode())
        for stride in _strides(data)
        for begin, found in _pieces(data, stride)
        for place, secret in zip(found.begins, found.keys, strict=True)
    ]


def lines_of(data: bytes | mmap.mmap) -> dict[str, list[int]]:
    """Return for every key the lines, from 1, on which it stands.

    The lines are counted once for each spelling, in pieces.
    """
    lines: defaultdict[bytes, list[int]] = defaultdict(list)
    for stride in _strides(data):
        line, counted = 1, 0
        for begin, found in _pieces(data, stride):
            line += _newlines(data, counted, begin)
            for secret, before in zip(found.keys, found.newlines, strict=True):
                lines[secret].append(line + before)
            line, counted = line + found.newlines[-1], begin + found.begins[-1]
    return {secret.decode(): found for secret, found in lines.items()}


def _strides(data: bytes | mmap.mmap) -> tuple[int, ...]:
    # A second look costs as much as the first: text in UTF-16 shows itself early.
    return (1, 2) if b"\0" in data[:_BEGINNING] else (1,)


def _pieces(data: bytes | mmap.mmap, stride: int) -> Iterator[tuple[int, Found]]:
    """Yield where pieces begin that hold keys, and those, by their places in the piece.

    The pattern passes over what cannot be a key, faster than anything else does; where it stops,
    a whole piece is checked at once, as where there is one key there are often many.
    """
    at = 0
    while maybe := _PATTERNS[stride].search(data, at):
        # Takes numpy with it, which most scans do not need.
        from admin_cli.tenants.key_check import keys_at  # noqa: PLC0415

        begin = maybe.start()
        at = begin + CHECKED
        found = keys_at(data[begin : at + stride * _SPAN], stride, CHECKED - 1)
        if found.keys:
            yield begin, found


def _newlines(data: bytes | mmap.mmap, first: int, end: int) -> int:
    pieces = range(first, end, _PIECE)
    return sum(data[begin : min(begin + _PIECE, end)].count(b"\n") for begin in pieces)


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
                    for secret, lines in lines_of(data).items():
                        findings.add(secret, str(path), lines)
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
        findings.add(secret, f"{repository}: {place}", [])
