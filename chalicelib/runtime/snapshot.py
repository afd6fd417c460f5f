"""A snapshot of what the first prediction imports from a tree, in the order in which it does.

On a network file system every module costs several round trips, and the dynamic loader reads
hundreds of megabytes in pages here and there. The snapshot holds the compiled code of every module
in one file that is read from front to back, and which stretches of which shared library were
touched, so that they can be asked for at once. It is made by a rehearsal on the mount itself, with
the very Python that will use it, and is never needed: without it everything is found as usual.
"""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC = b"radgate snapshot 1 " + importlib.util.MAGIC_NUMBER
_PAGE = 4096
_PRESENT = 1 << 63
_GAP = 128 * 1024  # what lies between two touched stretches is read along when it is shorter
_MAPS_FIELDS = 6


@dataclass(frozen=True, slots=True)
class Module:
    """A module's place under the tree, whether it is a package, and where its code lies."""

    path: str
    package: bool
    offset: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`stretches`: by library under the tree, (offset, bytes) of what was touched."""

    modules: dict[str, Module]
    stretches: dict[str, list[tuple[int, int]]]
    codes: memoryview

    def code(self, name: str) -> CodeType:
        """Return a module's compiled code."""
        module = self.modules[name]
        code: CodeType = marshal.loads(  # noqa: S302 - written by us, as .pyc files are
            self.codes[module.offset : module.offset + module.bytes]
        )
        return code


def read_snapshot(path: Path) -> Snapshot | None:
    """Return the snapshot, None when there is none or another Python made it."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    size = int.from_bytes(data[len(_MAGIC) : len(_MAGIC) + 8], "little")
    begin = len(_MAGIC) + 8
    if not data.startswith(_MAGIC) or len(data) < begin + size:
        return None
    index = json.loads(data[begin : begin + size])
    if index["bytes"] != len(data) - begin - size:
        return None
    return Snapshot(
        {name: Module(*facts) for name, facts in index["modules"].items()},
        {name: [(a, b) for a, b in found] for name, found in index["stretches"].items()},
        memoryview(data)[begin + size :],
    )


def write_snapshot(path: Path, files: Path, home: Path) -> None:
    """Write down what this process has imported from the tree in `files`.

    `home`: where these files will be later; torch reads some of its own source by that name.
    """
    modules: dict[str, tuple[str, bool, int, int]] = {}
    codes = bytearray()
    for name, origin, loader in _imported(files):
        source = loader.get_code(name)
        if source is None:
            continue
        code = marshal.dumps(_at(source, str(home / origin.relative_to(files))))
        package = loader.is_package(name)
        modules[name] = (str(origin.relative_to(files)), package, len(codes), len(code))
        codes += code
    index = {"modules": modules, "stretches": _touched(files), "bytes": len(codes)}
    head = json.dumps(index).encode()
    path.write_bytes(_MAGIC + len(head).to_bytes(8, "little") + head + codes)


def _imported(files: Path) -> Iterator[tuple[str, Path, SourceFileLoader]]:
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if spec is None or spec.name != name or type(spec.loader) is not SourceFileLoader:
            continue
        origin = Path(spec.origin or "")
        if origin.is_relative_to(files):
            yield name, origin, spec.loader


def _at(code: CodeType, path: str) -> CodeType:
    """Return the code, and all code in it, as compiled from the file at `path`."""
    inner = tuple(_at(one, path) if isinstance(one, CodeType) else one for one in code.co_consts)
    return code.replace(co_filename=path, co_consts=inner)


def _touched(files: Path) -> dict[str, list[tuple[int, int]]]:
    """Return which stretches of libraries under `files` this process has in memory."""
    found: dict[str, list[tuple[int, int]]] = {}
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        pages = Path("/proc/self/pagemap").open("rb", buffering=0)  # noqa: SIM115 - just below
    except OSError:
        return found  # no Linux: nothing is read ahead
    with pages:
        for line in maps:
            fields = line.split(maxsplit=_MAPS_FIELDS - 1)
            if len(fields) < _MAPS_FIELDS or not Path(fields[5]).is_relative_to(files):
                continue
            begin, _, end = fields[0].partition("-")
            first, count = int(begin, 16) // _PAGE, (int(end, 16) - int(begin, 16)) // _PAGE
            pages.seek(first * 8)
            entries = pages.read(count * 8)
            stretches = found.setdefault(str(Path(fields[5]).relative_to(files)), [])
            for number in range(len(entries) // 8):
                if int.from_bytes(entries[number * 8 : number * 8 + 8], "little") & _PRESENT:
                    _extend(stretches, int(fields[2], 16) + number * _PAGE)
    return found


def _extend(stretches: list[tuple[int, int]], offset: int) -> None:
    if stretches:
        start, length = stretches[-1]
        if start <= offset <= start + length + _GAP:
            stretches[-1] = (start, max(length, offset + _PAGE - start))
            return
    stretches.append((offset, _PAGE))


def _forget_libraries(files: Path) -> None:
    """Let the kernel forget the libraries, as far as they are written down.

    What was just written lies in its cache in large pieces, and a touch of one maps it whole. Of
    what is read back, only what is touched is there.
    """
    for path in files.rglob("*.so*"):
        if path.is_file() and hasattr(os, "posix_fadvise"):
            with path.open("rb") as library:
                os.posix_fadvise(library.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def rehearse(actions: list[str]) -> None:
    """Import each `module`, or call each `module:function`."""
    for action in actions:
        name, _, function = action.partition(":")
        module: Any = import_module(name)
        if function:
            getattr(module, function)()


def main(arguments: list[str]) -> int:
    """Rehearse in a process of its own: files, where they will be, snapshot, actions."""
    files, home, snapshot = (Path(argument) for argument in arguments[:3])
    sys.path.append(str(files))
    _forget_libraries(files)
    rehearse(arguments[3:])
    write_snapshot(snapshot, files, home)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
