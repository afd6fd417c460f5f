"""Finds our keys in files, by pattern and then by checksum; and in what git keeps of them."""

from __future__ import annotations

import gc
import mmap
import os
import re
from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from admin_cli.console import CliError
from admin_cli.tenants import git_objects
from chalicelib.errors import KeyUnknown
from chalicelib.tenants import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
# Keys that are no further apart are checked together.
_NEAR = 4096
# So many bytes are checked at once, as fits into a processor's cache.
CHECKED = 1 << 17
_SPAN = 41  # characters of a key


class Hits(NamedTuple):
    """Keys of one place, in order, and the line of each, less `line`; `line` 0: it has no lines."""

    place: str
    line: int
    lines: list[int]
    keys: list[str]


@dataclass
class Findings:
    """What was found, and how much was read (`size`: bytes).

    `unreadable`: paths of files and folders; of repositories with the reason. `repositories`: those
    that were read whole.
    """

    hits: list[Hits] = field(default_factory=list, repr=False)
    files: int = 0
    repositories: int = 0
    size: int = 0
    unreadable: list[str] = field(default_factory=list)

    def places(self) -> dict[str, list[str]]:
        """Return each secret with the places where it stands in words, each once and in order."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for place, line, lines, secrets in self.hits:
            for secret, after in zip(secrets, lines, strict=True):
                found[secret].append(f"{place}:{line + after}" if line else place)
        return {secret: [*dict.fromkeys(places)] for secret, places in found.items()}


class Found(NamedTuple):
    """Keys in a piece, in order: where each begins, after how many newlines, and the key."""

    begins: list[int]
    newlines: list[int]
    keys: list[str]


def keys_in(data: bytes | mmap.mmap) -> list[tuple[int, str]]:
    """Return place and text of every key, as bytes of ASCII or in UTF-16."""
    return [
        (begin + place, secret)
        for stride in _strides(data)
        for begin, found in _pieces(data, stride)
        for place, secret in zip(found.begins, found.keys, strict=True)
    ]


def note_lines(data: bytes | mmap.mmap, path: str, findings: Findings) -> None:
    """Note every key of a file with its line, from 1; lines are counted once for each spelling."""
    for stride in _strides(data):
        line, counted = 1, 0
        for begin, found in _pieces(data, stride):
            line += _newlines(data, counted, begin)
            findings.hits.append(Hits(path, line, found.newlines, found.keys))
            line, counted = line + found.newlines[-1], begin + found.begins[-1]


def _strides(data: bytes | mmap.mmap) -> tuple[int, ...]:
    # A second look costs as much as the first: text in UTF-16 shows itself early.
    return (1, 2) if b"\0" in data[:_BEGINNING] else (1,)


def _pieces(data: bytes | mmap.mmap, stride: int) -> Iterator[tuple[int, Found]]:
    """Yield where pieces begin that hold keys, and those, by their places in the piece.

    The pattern passes over what cannot be a key, faster than anything else does. Where it stops
    once, that is checked; where it soon stops again, a whole piece is checked at once.
    """
    search = _PATTERNS[stride].search
    maybe = search(data)
    while maybe is not None:
        begin = maybe.start()
        following = search(data, begin + 1)
        if following is None or following.start() - begin > _NEAR:
            if _is_key(secret := maybe[0][::stride].decode()):
                yield begin, Found([0], [0], [secret])
            maybe = following
            continue
        # Takes numpy with it, which most scans do not need.
        from admin_cli.tenants.key_check import keys_at  # noqa: PLC0415

        end = begin + CHECKED
        found = Found(*keys_at(data[begin : end + stride * _SPAN], stride, CHECKED - 1))
        if found.keys:
            yield begin, found
        maybe = search(data, end)


def _is_key(secret: str) -> bool:
    try:
        keys.read(secret)
    except KeyUnknown:
        return False
    return True


def _newlines(data: bytes | mmap.mmap, first: int, end: int) -> int:
    pieces = range(first, end, _PIECE)
    return sum(data[begin : min(begin + _PIECE, end)].count(b"\n") for begin in pieces)


def scan(paths: list[Path], *, history: bool) -> Findings:
    """Search files, folders with all below them and, with `history`, what their git keeps.

    Links are not followed. What cannot be read is noted, and the search goes on. Raises CliError
    for a path that is not there.
    """
    findings = Findings()
    for path in paths:
        if not path.exists():
            raise CliError(f"{path} is not there")
    with _without_cycles():
        for path in paths:
            _scan(path, findings, history=history)
    return findings


def _scan(path: Path, findings: Findings, *, history: bool) -> None:
    if path.is_file():
        _scan_file(path, findings)
        return
    for folder, folders, files in os.walk(path, onerror=_note(findings)):
        here = Path(folder)
        if ".git" in {*folders, *files} or _is_bare(here, folders, files):
            if history:
                _scan_git(here, findings)
            # Its packs are compressed: only git can read them. Its settings are in no commit.
            folders[:] = [] if _is_bare(here, folders, files) else folders
            with suppress(ValueError):
                folders.remove(".git")
                for file in _settings(here / ".git"):
                    _scan_file(file, findings)
        for name in files:
            _scan_file(here / name, findings)


@contextmanager
def _without_cycles() -> Iterator[None]:
    """Do not look for cycles of objects: none arise here, and of many keys it took a third."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _is_bare(here: Path, folders: list[str], files: list[str]) -> bool:
    return "HEAD" in files and {"objects", "refs"} <= {*folders} and not (here / ".git").exists()


def _settings(git: Path) -> list[Path]:
    """Return what people write into a repository's own folder; a header may hold a key there."""
    return [git / "config", git / "config.worktree", *sorted((git / "hooks").glob("*"))]


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
                    note_lines(data, str(path), findings)
    except (OSError, ValueError):
        findings.unreadable.append(str(path))
        return
    findings.files += 1
    findings.size += size


def _scan_git(repository: Path, findings: Findings) -> None:
    hits: list[tuple[str, str, str]] = []
    with _noted(repository, findings):
        for kind, name, body in git_objects.every(repository):
            findings.size += len(body)
            hits += [(secret, kind, name) for _, secret in keys_in(body)]
        findings.repositories += 1
    # What was found before git gave up is told in any case.
    files = {name for _, kind, name in hits if kind == "blob"}
    first: dict[str, str] = {}
    with _noted(repository, findings):
        first = git_objects.first_places(repository, files) if files else {}
    for secret, kind, name in hits:
        lost = f"object {name[:12]}, in no branch"
        place = first.get(name, lost) if kind == "blob" else f"{kind} {name[:12]}"
        findings.hits.append(Hits(f"{repository}: {place}", 0, [0], [secret]))


@contextmanager
def _noted(repository: Path, findings: Findings) -> Iterator[None]:
    """Note a repository that git cannot read, with the reason, instead of ending the search."""
    try:
        yield
    except git_objects.Unreadable as error:
        findings.unreadable.append(f"{repository}: {error}")
