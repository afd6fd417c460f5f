"""Makes a tree of packages out of wheels, and the parts that carry it: the same from the same.

Nothing depends on the time, the folder or the user, so whoever has the same wheels gets the same
hash and the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pydantic import ValidationError

from admin_cli.console import CliError
from admin_cli.runtime.files import Wheels
from chalicelib.runtime.manifest import File, Manifest, Part, Piece

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from admin_cli.runtime.wheels import Closure, Target

    Bar = Callable[[str, float], AbstractContextManager[Callable[[float], None]]]

MANIFEST, REPORT = "manifest.json", "build.json"
PART_BYTES = 40 * 1024 * 1024  # unpacked; about 12 MB each, a second to fetch and write
_LEVEL = 6
_WORKERS = 2


@dataclass(frozen=True, slots=True)
class Package:
    """What a package adds to the tree. `wheel_bytes`: packed; `bytes`: of its files."""

    name: str
    version: str
    wheel_bytes: int
    bytes: int
    files: int


@dataclass(frozen=True, slots=True)
class Build:
    """A tree on this disk. `left_out`: what packages asked for and did not get."""

    tree: str
    python: str
    platform: str
    bytes: int
    packed_bytes: int
    files: int
    parts: int
    packages: tuple[Package, ...]
    left_out: tuple[str, ...]


@contextmanager
def _no_bar(_title: str, _total: float) -> Iterator[Callable[[float], None]]:
    yield lambda _step: None


def build(
    closure: Closure,
    target: Target,
    home: Path,
    *,
    part_bytes: int = PART_BYTES,
    bar: Bar = _no_bar,
) -> Build:
    """Make the tree and its parts in `home`, in a folder of the tree's name.

    Raises CliError when wheels contradict each other or hold what a tree cannot.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (
        Wheels(closure.wheels) as wheels,
        tempfile.TemporaryDirectory(dir=home, prefix=".unfinished-") as temporary,
    ):
        folder = Path(temporary) / "tree"
        folder.mkdir()
        with bar("hashing", wheels.size) as moved:
            files = [wheels.file(path, moved) for path in sorted(wheels.origins)]
        with bar("packing", wheels.size) as moved:
            parts = list(_packed(wheels, files, part_bytes, folder, moved))
        try:
            manifest = Manifest(
                python=target.python,
                platform=target.platform,
                files=tuple(files),
                parts=tuple(parts),
            )
        except ValidationError as error:
            raise CliError(f"no tree can be made of this: {error.errors()[0]['msg']}") from error
        made = Build(
            tree=manifest.tree,
            python=target.python,
            platform=target.platform,
            bytes=manifest.size,
            packed_bytes=sum(part.bytes for part in parts),
            files=len(files),
            parts=len(parts),
            packages=_packages(closure, wheels),
            left_out=closure.left_out,
        )
        (folder / MANIFEST).write_text(manifest.model_dump_json() + "\n", encoding="utf-8")
        (folder / REPORT).write_text(json.dumps(asdict(made), indent=2) + "\n", encoding="utf-8")
        place = home / manifest.tree
        if place.exists():
            shutil.rmtree(place)  # it holds the same, or was damaged
        folder.rename(place)
    return made


def plan(files: Sequence[File], part_bytes: int) -> Iterator[list[Piece]]:
    """Cut the files, one after the other, into parts of `part_bytes` bytes; the last has less."""
    part: list[Piece] = []
    room = part_bytes
    for number, file in enumerate(files):
        offset = 0
        while True:
            size = min(room, file.bytes - offset)
            part.append(Piece(file=number, offset=offset, bytes=size))
            offset, room = offset + size, room - size
            if room == 0:
                yield part
                part, room = [], part_bytes
            if offset == file.bytes:
                break
    if part:
        yield part


def _packed(
    wheels: Wheels,
    files: Sequence[File],
    part_bytes: int,
    folder: Path,
    moved: Callable[[float], None],
) -> Iterator[Part]:
    """Write the parts; zlib works outside of Python's lock, so two are packed at a time."""
    stream: IO[bytes] | None = None
    waiting: deque[Future[Part]] = deque()
    with ThreadPoolExecutor(_WORKERS) as pool:
        for number, pieces in enumerate(plan(files, part_bytes)):
            content = bytearray()
            for piece in pieces:
                if piece.offset == 0 or stream is None:
                    stream = wheels.open(files[piece.file].path)
                content += stream.read(piece.bytes)
                moved(piece.bytes)
            path = folder / f"part-{number + 1:04d}.gz"
            waiting.append(pool.submit(pack_part, path, bytes(content), tuple(pieces)))
            if len(waiting) > _WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def pack_part(path: Path, content: bytes, pieces: tuple[Piece, ...]) -> Part:
    """Write a part that holds `content`, the pieces one after the other; return its facts."""
    packer = zlib.compressobj(_LEVEL, wbits=31)  # a gzip header without time or name
    data = packer.compress(content) + packer.flush()
    path.write_bytes(data)
    return Part(bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), pieces=pieces)


def _packages(closure: Closure, wheels: Wheels) -> tuple[Package, ...]:
    found = []
    for wheel in closure.wheels:
        own = [
            one.info.file_size for one in wheels.origins.values() if one.wheel.name == wheel.name
        ]
        packed = wheel.path.stat().st_size
        found.append(Package(wheel.name, wheel.version, packed, sum(own), len(own)))
    return tuple(found)
