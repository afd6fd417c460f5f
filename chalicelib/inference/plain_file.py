"""Reads files that nobody vouches for: plain ones only, and none longer than it may be.

The model folder is on a network file system, where every call may fail for a moment.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from chalicelib.errors import ModelUnavailable

if TYPE_CHECKING:
    from pathlib import Path

_REASONS = {
    errno.ENOENT: "is missing",
    errno.ELOOP: "is a symbolic link",
    errno.ENXIO: "is no plain file",  # a socket
}


def read_plain(folder: Path, name: str, limit: int) -> bytes:
    """Return a plain file of at most `limit` bytes; a link at its end is not followed.

    Raises ModelUnavailable with the reason; where the file system gave it, its OSError is the
    cause.
    """
    try:
        # Not blocking: a pipe would be waited on for ever.
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            # Looked at before Python makes a file of it, which for a folder fails in another way.
            facts = os.fstat(handle)
            if not stat.S_ISREG(facts.st_mode):
                raise ModelUnavailable(f"pack {folder.name}: {name} is no plain file")
            if facts.st_size > limit:
                raise ModelUnavailable(f"pack {folder.name}: {name} is larger than it may be")
            with os.fdopen(handle, "rb", closefd=False) as file:
                # One more than there was, so that a file that grows meanwhile is found out.
                return file.read(facts.st_size + 1)
        finally:
            os.close(handle)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, "cannot be read")
        raise ModelUnavailable(f"pack {folder.name}: {name} {reason}") from error


def plain_size(folder: Path, name: str) -> int:
    """Return the bytes of a plain file by its record alone. Raises ModelUnavailable."""
    try:
        facts = (folder / name).lstat()
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, "cannot be read")
        raise ModelUnavailable(f"pack {folder.name}: {name} {reason}") from error
    if not stat.S_ISREG(facts.st_mode):
        raise ModelUnavailable(f"pack {folder.name}: {name} is no plain file")
    return facts.st_size


def refuse_link(folder: Path) -> None:
    """Raise ModelUnavailable when a pack's folder is a symbolic link, or cannot be looked at."""
    try:
        linked = stat.S_ISLNK(folder.lstat().st_mode)
    except OSError as error:
        reason = "is missing" if error.errno == errno.ENOENT else "cannot be read"
        raise ModelUnavailable(f"pack {folder.name}: the folder {reason}") from error
    if linked:
        raise ModelUnavailable(f"pack {folder.name}: the folder is a symbolic link")
