"""Puts a tree together on the mount in steps, each of which may be the last before a timeout.

Parts are written into a hidden folder; a journal beside them says which are done. Then every
file is hashed as it lies there, strangers are looked for, the tree is tried out, and the folder
gets its name. Whatever is repeated is repeated whole, so a step that was cut short does no harm;
and since the hashes are taken at the end, a journal that promises too much does none either.
Nothing is flushed file by file: EFS has what was written when a file is closed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

from chalicelib.runtime.manifest import TreeRefused, read_manifest
from chalicelib.runtime.trees import MANIFEST, SNAPSHOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chalicelib.runtime.manifest import File, Manifest, Part

_JOURNAL = "journal.json"
_BLOCK = 4 * 1024 * 1024


class Source(Protocol):
    """Where a tree comes from."""

    def manifest(self, tree: str) -> bytes:
        """Return the manifest. Raises TreeRefused when there is none."""

    def part(self, tree: str, number: int) -> bytes:
        """Return a part, counted from 0. Raises TreeRefused when it is not there."""


class Shelf(Protocol):
    """Where trees of one kind lie. Any method may raise TreeRefused."""

    def has(self, tree: str) -> bool:
        """Tell whether it is there, whole."""

    def incoming(self, tree: str) -> Path:
        """Return the folder in which it is put together."""

    def files(self, tree: str) -> Path:
        """Return the folder in that one which its files go into."""

    def home(self, tree: str) -> Path:
        """Return where its files will be in the end."""

    def publish(self, tree: str) -> None:
        """Bring a finished tree from where it came in to where it belongs, in one step."""


class Trial(Protocol):
    """Tries a tree out before it may serve."""

    def __call__(self, files: Path, home: Path, snapshot: Path) -> None:
        """Import from `files`, which will be in `home`; write to `snapshot` what was imported.

        Raises TreeRefused when that fails.
        """


@dataclass(slots=True)
class Journal:
    """How far a tree has come: the first `parts` are written, the first `verified` files checked.

    `tried`: whether it was tried out.
    """

    parts: int = 0
    verified: int = 0
    tried: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What was reached: `stage` fetch, verify, try or whole; `done` of `total` in it."""

    stage: str
    done: int
    total: int


class Unpacking:
    """One tree on its way. `tell` hears every step before it is taken."""

    def __init__(
        self, shelf: Shelf, tree: str, source: Source, trial: Trial, tell: Callable[[Step], None]
    ) -> None:
        self._shelf = shelf
        self._tree = tree
        self._source = source
        self._trial = trial
        self._tell = tell
        self._folder = shelf.incoming(tree)
        self._files = shelf.files(tree)
        self._home = shelf.home(tree)

    def run(self, enough: Callable[[str], bool]) -> Step:
        """Go on until the tree is whole, or until `enough` says no to another step of a stage.

        Raises TreeRefused; whatever was unpacked is then removed, and no other tree is touched.
        """
        if self._shelf.has(self._tree):
            return Step("whole", 1, 1)
        try:
            return self._go_on(enough)
        except TreeRefused:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def _go_on(self, enough: Callable[[str], bool]) -> Step:
        manifest = self._manifest()
        journal = self._journal()
        while (step := _next(journal, manifest)).stage != "whole":
            self._tell(step)
            if not enough(step.stage):
                return step
            if step.stage == "fetch":
                self._write(manifest, manifest.parts[step.done], step.done)
                journal.parts += 1
            elif step.stage == "verify":
                journal.verified = self._verify(manifest, step.done)
            else:
                self._check_strangers(manifest)
                self._trial(self._files, self._home, self._folder / SNAPSHOT)
                journal.tried = True
            self._note(journal)
        self._tell(step)
        self._shelf.publish(self._tree)
        return step

    def _manifest(self) -> Manifest:
        path = self._folder / MANIFEST
        if not path.is_file():
            self._files.mkdir(parents=True, exist_ok=True)
            data = self._source.manifest(self._tree)
            read_manifest(data, self._tree)
            _replace(path, data)
        return read_manifest(path.read_bytes(), self._tree)

    def _journal(self) -> Journal:
        try:
            return Journal(**json.loads((self._folder / _JOURNAL).read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return Journal()  # at worst everything is done again

    def _note(self, journal: Journal) -> None:
        _replace(self._folder / _JOURNAL, json.dumps(asdict(journal)).encode())

    def _write(self, manifest: Manifest, part: Part, number: int) -> None:
        data = self._source.part(self._tree, number)
        if len(data) != part.bytes or hashlib.sha256(data).hexdigest() != part.sha256:
            raise TreeRefused(f"part {number + 1} is not what the manifest promises")
        content = memoryview(_inflated(data, part.unpacked, number))
        for piece in part.pieces:
            file = manifest.files[piece.file]
            handle = self._open(file, os.O_WRONLY | os.O_CREAT)
            try:
                if piece.offset == 0:
                    os.ftruncate(handle, 0)
                _write_at(handle, content[: piece.bytes], piece.offset)
            finally:
                os.close(handle)
            content = content[piece.bytes :]

    def _verify(self, manifest: Manifest, first: int) -> int:
        """Check files from `first` on, about as much as one part has; return the next one."""
        checked = 0
        for number in range(first, len(manifest.files)):
            file = manifest.files[number]
            if checked and checked + file.bytes > _BLOCK * 8:
                return number
            self._check(file)
            checked += file.bytes
        return len(manifest.files)

    def _check(self, file: File) -> None:
        handle = self._open(file, os.O_RDWR)
        try:
            facts = os.fstat(handle)
            digest = hashlib.sha256()
            while block := os.read(handle, _BLOCK):
                digest.update(block)
            if facts.st_size != file.bytes or digest.hexdigest() != file.sha256:
                raise TreeRefused(f"{file.path} is not what the manifest promises")
            os.fchmod(handle, file.mode)
        finally:
            os.close(handle)

    def _open(self, file: File, flags: int) -> int:
        """Open a file of the tree; no step of its path may be a link."""
        *folders, name = file.path.split("/")
        where = os.open(self._files, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for folder in folders:
                if flags & os.O_CREAT:
                    with suppress(FileExistsError):
                        os.mkdir(folder, 0o755, dir_fd=where)
                inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=where)
                os.close(where)
                where = inner
            handle = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644, dir_fd=where)
        except OSError as error:
            raise TreeRefused(f"{file.path} cannot be opened as a plain file") from error
        finally:
            os.close(where)
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
            os.close(handle)
            raise TreeRefused(f"{file.path} is no plain file of its own")
        return handle

    def _check_strangers(self, manifest: Manifest) -> None:
        wanted = {file.path for file in manifest.files}
        for folder, folders, names in os.walk(self._files):
            for name in (*names, *folders):
                path = os.path.join(folder, name)  # noqa: PTH118 - as os.walk gives it
                inside = os.path.relpath(path, self._files)
                link = os.path.islink(path)  # noqa: PTH114
                if link or (name in names and inside not in wanted):
                    raise TreeRefused(f"{inside} does not belong to the tree")


def _next(journal: Journal, manifest: Manifest) -> Step:
    if journal.parts < len(manifest.parts):
        return Step("fetch", journal.parts, len(manifest.parts))
    if journal.verified < len(manifest.files):
        return Step("verify", journal.verified, len(manifest.files))
    return Step("whole", 1, 1) if journal.tried else Step("try", 0, 1)


def _inflated(data: bytes, length: int, number: int) -> bytes:
    """Unpack gzip to exactly `length` bytes, never to more."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(data, length + 1)
        if len(content) == length and not unpacker.eof:  # only the trailer is left, or too much
            content += unpacker.decompress(unpacker.unconsumed_tail, 1)
    except zlib.error as error:
        raise TreeRefused(f"part {number + 1} is damaged") from error
    if len(content) != length or not unpacker.eof or unpacker.unused_data:
        raise TreeRefused(f"part {number + 1} does not hold what the manifest promises")
    return content


def _write_at(handle: int, content: memoryview, offset: int) -> None:
    while content:
        written = os.pwrite(handle, content, offset)
        content, offset = content[written:], offset + written


def _replace(path: Path, data: bytes) -> None:
    """Write a file in one step: readers see the old one or the new one."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_bytes(data)
    temporary.replace(path)
