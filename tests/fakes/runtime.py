"""Trees of packages for tests: small wheels, a source that is a folder, a trial that passes."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from admin_cli.runtime.build import build
from admin_cli.runtime.wheels import Closure, Wheel, native
from chalicelib.runtime.manifest import TreeRefused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from admin_cli.runtime.build import Build

PART_BYTES = 4_000
# A file that does not compress, and needs several parts of that size.
NOISE = bytes(number * number * 31 % 251 for number in range(9_000))
ALPHA = {
    "alpha/__init__.py": b"from alpha.inner import word\n",
    "alpha/inner.py": b"word = 'alpha'\n\n\ndef fail():\n    raise ValueError(word)\n",
    "alpha/lib/noise.bin": NOISE,
    "alpha/empty.py": b"",
    "alpha-1.0.dist-info/licenses/LICENSE": b"free for all\n",
}
BETA = {"beta.py": b"import alpha\n\nword = alpha.word + ' beta'\n"}


def make_wheel(
    folder: Path, name: str, files: Mapping[str, bytes], *, version: str = "1.0", needs: str = ""
) -> Wheel:
    """Write a wheel of pure Python."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Dist: {needs}\n" if needs else ""
    tags = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, content in files.items():
            archive.writestr(inside, content)
        archive.writestr(f"{name}-{version}.dist-info/METADATA", metadata)
        archive.writestr(f"{name}-{version}.dist-info/WHEEL", tags)
        archive.writestr(f"{name}-{version}.dist-info/RECORD", "")
    return Wheel(name, version, path)


def make_tree(home: Path, word: str = "alpha") -> Build:
    """Build a small tree in `home`; another `word` makes another tree."""
    home.mkdir(parents=True, exist_ok=True)
    files = ALPHA | {"alpha/inner.py": ALPHA["alpha/inner.py"].replace(b"alpha", word.encode())}
    wheels = (make_wheel(home, "alpha", files), make_wheel(home, "beta", BETA))
    return build(Closure(wheels, ()), native(), home / "built", part_bytes=PART_BYTES)


@dataclass
class FolderSource:
    """Satisfies `unpacking.Source` with what `build` has left in a folder."""

    folder: Path
    asked: list[int] = field(default_factory=list)

    def manifest(self, tree: str) -> bytes:
        return self._read(tree, "manifest.json")

    def part(self, tree: str, number: int) -> bytes:
        self.asked.append(number)
        return self._read(tree, f"part-{number + 1:04d}.gz")

    def _read(self, tree: str, name: str) -> bytes:
        try:
            return (self.folder / tree / name).read_bytes()
        except FileNotFoundError:
            raise TreeRefused(f"{name} is not there") from None


@dataclass
class EasyTrial:
    """Satisfies `unpacking.Trial`: it passes, or fails for the reason it is given."""

    reason: str = ""

    def __call__(self, files: Path, home: Path, snapshot: Path) -> None:
        assert (files / "alpha").is_dir()
        if self.reason:
            raise TreeRefused(self.reason)
        snapshot.write_bytes(b"")
