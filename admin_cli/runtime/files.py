"""Which files of which wheels make a tree of packages.

What a program does not need is left behind: tests, headers, type stubs, compiled files, records of
installers. Licences stay.
"""

from __future__ import annotations

import hashlib
import re
import stat
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Self

from admin_cli.console import CliError
from chalicelib.runtime.manifest import File

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from admin_cli.runtime.wheels import Wheel

_BLOCK = 4 * 1024 * 1024
# Folders with nothing that a program imports, wherever they stand.
_FOLDERS = {"__pycache__", "tests", "include", "test_files"}
# And those that only some packages have.
_PLACES = ("torch/share/", "torch/test/", "torch/lib/libshm_windows/", "share/")
_ENDINGS = (".a", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".lib", ".pxd", ".pyc", ".pyi", ".pyx")
_TEST_LIBRARY = re.compile(r"torch/lib/lib(\w+_test|backend_with_compiler|aoti_custom_ops)\.so")
_PROGRAM = re.compile(r"torch/bin/(?!torch_shm_manager$).*")  # torch asks for that one by name
_RECORDS = {"RECORD", "INSTALLER", "WHEEL", "REQUESTED", "direct_url.json", "top_level.txt"}
_LICENCE = re.compile(r"(licen[cs]e|copying|notice|authors)", re.IGNORECASE)
_DATA = re.compile(r"[^/]+\.data/(?:purelib|platlib)/(.+)")


def kept(path: str) -> bool:
    """Whether a file of a wheel belongs into the tree."""
    *folders, name = path.split("/")
    if folders and folders[0].endswith(".dist-info"):
        return name not in _RECORDS
    if _LICENCE.match(name):
        return True
    if _FOLDERS & set(folders) or path.startswith(_PLACES) or _TEST_LIBRARY.fullmatch(path):
        return False
    if _PROGRAM.fullmatch(path):
        return False
    return not name.endswith(_ENDINGS)


def placed(name: str) -> str | None:
    """Where a file of a wheel goes; None for scripts, headers and data outside of packages."""
    if inner := _DATA.fullmatch(name):
        return inner[1]
    return None if name.partition("/")[0].endswith(".data") else name


@dataclass(frozen=True, slots=True)
class Origin:
    """A file of a wheel that goes into the tree."""

    wheel: Wheel
    info: zipfile.ZipInfo


class Wheels:
    """Open wheels, and where in them each file of the tree is.

    Raises CliError when two of them bring the same file, or one holds a link.
    """

    def __init__(self, wheels: Sequence[Wheel]) -> None:
        self._stack = ExitStack()
        self._archives: dict[str, zipfile.ZipFile] = {}
        self.origins: dict[str, Origin] = {}
        with ExitStack() as until_whole:
            until_whole.push(self._stack)
            for wheel in wheels:
                self._add(wheel)
            until_whole.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def size(self) -> int:
        """How many bytes the tree's files have together."""
        return sum(origin.info.file_size for origin in self.origins.values())

    def open(self, path: str) -> IO[bytes]:
        """Open a file of the tree."""
        origin = self.origins[path]
        return self._archives[origin.wheel.name].open(origin.info)

    def file(self, path: str, moved: Callable[[float], None]) -> File:
        """Describe a file of the tree."""
        digest, size = hashlib.sha256(), 0
        with self.open(path) as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
                size += len(block)
                moved(len(block))
        executable = self.origins[path].info.external_attr >> 16 & 0o111
        return File(
            path=path,
            mode=0o755 if executable else 0o644,
            bytes=size,
            sha256=digest.hexdigest(),
        )

    def _add(self, wheel: Wheel) -> None:
        archive = self._stack.enter_context(zipfile.ZipFile(wheel.path))
        self._archives[wheel.name] = archive
        for info in archive.infolist():
            path = placed(info.filename)
            if info.is_dir() or path is None or not kept(path):
                continue
            if stat.S_ISLNK(info.external_attr >> 16):
                raise CliError(f"{wheel.path.name}: {info.filename} is a link")
            if path in self.origins:
                other = self.origins[path].wheel.name
                raise CliError(f"{wheel.name} and {other} both bring {path}")
            self.origins[path] = Origin(wheel, info)
