"""What a tree of packages is: its files by hash, and the numbered parts that carry them.

A tree is named by the SHA-256 of its sorted file names, modes and contents, so whoever knows the
name can check everything else. A part is gzip over pieces of files, one after the other; which
pieces, only the manifest says. There is no archive format to be fooled with: no links, no devices,
no names but those that are checked here.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from chalicelib.domain import Value

MAX_MANIFEST_BYTES = 16 * 1024 * 1024
MAX_FILES = 40_000
MAX_TREE_BYTES = 4 * 1024**3
MAX_PART_BYTES = 64 * 1024**2  # of a part unpacked, since it is held in memory

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_PLAIN = re.compile(r"[^/\\\x00-\x1f\x7f]{1,200}")
_TREE = re.compile(r"[0-9a-f]{64}")


class TreeRefused(Exception):
    """A tree, or a part of it, is not what it should be. `detail`: a sentence for the operator."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class File(Value):
    """A plain file; `path` is relative, with slashes."""

    path: str = Field(min_length=1, max_length=400)
    mode: Literal[0o644, 0o755]
    bytes: int = Field(ge=0, le=MAX_TREE_BYTES)
    sha256: Sha256


class Piece(Value):
    """`bytes` bytes at `offset` of the file with this index in `Manifest.files`."""

    file: int = Field(ge=0)
    offset: int = Field(ge=0)
    bytes: int = Field(ge=0, le=MAX_PART_BYTES)


class Part(Value):
    """A gzip file of `bytes` bytes; unpacked, its pieces one after the other."""

    bytes: int = Field(ge=1, le=MAX_PART_BYTES)
    sha256: Sha256
    pieces: tuple[Piece, ...] = Field(min_length=1)

    @property
    def unpacked(self) -> int:
        """How many bytes it has unpacked."""
        return sum(piece.bytes for piece in self.pieces)


class Manifest(Value):
    """All of a tree. `python`: such as 3.12, the only version that can load it.

    Python and platform are `any` for a tree that holds no packages, but the files of a model.
    """

    format: Literal[1] = 1
    python: str = Field(pattern=r"^(any|3\.[0-9]{1,2})$")
    platform: str = Field(pattern=r"^[a-z0-9_]{1,60}$")
    files: tuple[File, ...] = Field(min_length=1, max_length=MAX_FILES)
    parts: tuple[Part, ...] = Field(min_length=1)

    @property
    def tree(self) -> str:
        """The name that the files alone decide."""
        return tree_hash(self.python, self.platform, self.files)

    @property
    def size(self) -> int:
        """The length of all files together."""
        return sum(file.bytes for file in self.files)

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        paths = [file.path for file in self.files]
        if paths != sorted(set(paths)):
            raise ValueError("the files are not sorted, or one is named twice")
        _check_paths(paths)
        if self.size > MAX_TREE_BYTES:
            raise ValueError("the tree is larger than it may be")
        filled = [0] * len(self.files)
        for part in self.parts:
            if part.unpacked > MAX_PART_BYTES:
                raise ValueError("a part is larger than it may be")
            for piece in part.pieces:
                if piece.file >= len(filled) or piece.offset != filled[piece.file]:
                    raise ValueError("the pieces do not make the files")
                filled[piece.file] += piece.bytes
        if filled != [file.bytes for file in self.files]:
            raise ValueError("the pieces do not make the files")
        return self


def _check_paths(paths: list[str]) -> None:
    files = set(paths)
    for path in paths:
        steps = path.split("/")
        if not all(_PLAIN.fullmatch(step) and step not in {".", ".."} for step in steps):
            raise ValueError("a file has a name that leads elsewhere")
        if any("/".join(steps[:depth]) in files for depth in range(1, len(steps))):
            raise ValueError("a file is also a folder")


def tree_hash(python: str, platform: str, files: tuple[File, ...]) -> str:
    """Return the SHA-256 that names a tree: of target, modes, contents and sorted names."""
    digest = hashlib.sha256(f"radgate tree 1 {python} {platform}\n".encode())
    for file in sorted(files, key=lambda one: one.path):
        digest.update(f"{file.mode:o} {file.sha256} {file.bytes} {file.path}\n".encode())
    return digest.hexdigest()


def checked_name(tree: str) -> str:
    """Return a tree's name that is fit for a path. Raises TreeRefused."""
    if not _TREE.fullmatch(tree):
        raise TreeRefused("a tree is named by 64 hexadecimal digits")
    return tree


def read_manifest(data: bytes, tree: str) -> Manifest:
    """Return the manifest of this very tree. Raises TreeRefused with the first reason."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise TreeRefused("the manifest is larger than it may be")
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise TreeRefused(f"the manifest is not well formed: {first['msg']}") from error
    if manifest.tree != tree:
        raise TreeRefused("the manifest belongs to another tree")
    return manifest
