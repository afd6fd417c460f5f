"""A model pack in the form in which trees travel: numbered parts and a manifest of their pieces."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from admin_cli.runtime.build import MANIFEST, PART_BYTES, pack_part, plan
from chalicelib.inference.packs import MANIFEST as PACK_MANIFEST
from chalicelib.inference.packs import read_file, verify_pack
from chalicelib.runtime.manifest import File, Manifest, Part

if TYPE_CHECKING:
    from chalicelib.inference.packs import Pack

_ANY = "any"  # a pack is no code: it is good for every Python and platform


@dataclass(frozen=True, slots=True)
class Parcel:
    """A pack on its way. `folder`: of its parts, named like `tree`."""

    pack: Pack
    tree: str
    folder: Path


def wrap(source: Path, home: Path, part_bytes: int = PART_BYTES) -> Parcel:
    """Make the parcel of the pack in folder `source`, in `home`, in a folder of its tree's name.

    What is packed is what was verified, since each file is read once. Raises ModelUnavailable when
    the pack is not what its manifest promises.
    """
    pack = verify_pack(source)
    manifest = (source / PACK_MANIFEST).read_bytes()
    contents = {name: read_file(pack, name) for name in pack.manifest.files}
    contents[PACK_MANIFEST] = manifest
    files = [
        File(path=name, mode=0o644, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in sorted(contents.items())
    ]
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=".unfinished-") as temporary:
        folder = Path(temporary) / "parcel"
        folder.mkdir()
        parts: list[Part] = []
        for number, pieces in enumerate(plan(files, part_bytes)):
            content = b"".join(
                contents[files[one.file].path][one.offset : one.offset + one.bytes]
                for one in pieces
            )
            path = folder / f"part-{number + 1:04d}.gz"
            parts.append(pack_part(path, content, tuple(pieces)))
        whole = Manifest(python=_ANY, platform=_ANY, files=tuple(files), parts=tuple(parts))
        (folder / MANIFEST).write_text(whole.model_dump_json() + "\n", encoding="utf-8")
        place = home / whole.tree
        if not place.exists():
            folder.rename(place)
    return Parcel(pack, whole.tree, place)
