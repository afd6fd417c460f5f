"""A folder as a file system at a distance: every request takes a round trip, as on EFS.

`python -m benchmarks.distant FOLDER MOUNTPOINT` serves until it is unmounted, read only, and then
prints how many requests there were of each kind. Requests at the same time wait at the same time;
bytes share one line. What the kernel keeps of a file, a name or an attribute costs nothing the
second time, as with NFS; a fresh mount keeps nothing. Needs libfuse 3 (Debian: `fuse3`).
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import mfusepy

if TYPE_CHECKING:
    from collections.abc import Iterator

# AWS names 250 us for a read at best; a function's way there is longer.
ROUND_TRIP = 0.0006
BYTES = 200_000_000  # a second
KEPT = 30  # seconds that names and attributes are kept, NFS's own default for folders


class Distant(mfusepy.Operations):  # type: ignore[misc]
    """`folder` with a delay; `round_trip` in seconds, `rate` in bytes a second."""

    use_ns = True

    def __init__(self, folder: str, round_trip: float, rate: float) -> None:
        self.requests: Counter[str] = Counter()
        self._folder = folder
        self._round_trip = round_trip
        self._rate = rate
        self._lock = threading.Lock()
        self._free = 0.0  # when the line is free

    def _travel(self, kind: str, size: int = 0, began: float = 0.0) -> None:
        now = time.perf_counter()
        with self._lock:
            self.requests[kind] += 1
            self.requests["bytes"] += size
            if size:
                self._free = max(self._free, began or now) + size / self._rate
            until = max(self._free if size else 0.0, began or now) + self._round_trip
        time.sleep(max(0.0, until - now))

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """Return a file's attributes."""
        del fh
        self._travel("lookup")
        try:
            found = os.lstat(self._folder + path)
        except OSError as error:
            raise mfusepy.FuseOSError(error.errno or errno.EIO) from None
        return {
            "st_mode": found.st_mode,
            "st_size": found.st_size,
            "st_nlink": found.st_nlink,
            "st_uid": found.st_uid,
            "st_gid": found.st_gid,
            "st_mtime": found.st_mtime_ns,
            "st_ctime": found.st_ctime_ns,
            "st_atime": found.st_atime_ns,
        }

    def readdir(self, path: str, fh: int) -> Iterator[str]:
        """Return the names in a folder."""
        del fh
        self._travel("list")
        return iter([".", "..", *os.listdir(self._folder + path)])  # noqa: PTH208 - names alone

    def open(self, path: str, flags: int) -> int:
        """Open a file to read."""
        del flags
        self._travel("open")
        try:
            return os.open(self._folder + path, os.O_RDONLY)
        except OSError as error:
            raise mfusepy.FuseOSError(error.errno or errno.EIO) from None

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """Read a stretch of a file."""
        del path
        began = time.perf_counter()
        found = os.pread(fh, size, offset)
        self._travel("read", len(found), began)
        return found

    def release(self, path: str, fh: int) -> None:
        """Close a file, for which nobody waits."""
        del path
        os.close(fh)


def main() -> None:
    """Serve, and print what was asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("mountpoint")
    parser.add_argument("--round-trip", type=float, default=ROUND_TRIP)
    parser.add_argument("--rate", type=float, default=BYTES)
    options = parser.parse_args()
    served = Distant(os.path.realpath(options.folder), options.round_trip, options.rate)
    mfusepy.FUSE(
        served,
        options.mountpoint,
        foreground=True,
        ro=True,
        kernel_cache=True,
        attr_timeout=KEPT,
        entry_timeout=KEPT,
        negative_timeout=KEPT,
    )
    json.dump(served.requests, sys.stdout)


if __name__ == "__main__":
    main()
