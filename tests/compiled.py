"""What a file of bytecode says of itself, for tests of what goes into the Lambda zip."""

from __future__ import annotations

import marshal
from types import CodeType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

UNCHECKED = 1  # PEP 552: a hash of the source, which nobody compares
_HEADER = 16


def flags(data: bytes) -> int:
    """Return the flags of a ``.pyc`` file, which say how it is tied to its source."""
    return int.from_bytes(data[4:8], "little")


def filenames(data: bytes) -> set[str]:
    """Return the names of the files that the code in a ``.pyc`` file says it is of."""
    return {code.co_filename for code in _codes(_of(data))}


def _of(data: bytes) -> CodeType:
    code: CodeType = marshal.loads(data[_HEADER:])  # noqa: S302 - just compiled
    return code


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)
