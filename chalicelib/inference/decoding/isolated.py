"""Runs GDCM in a process of its own, within limits: it may crash there and nothing else dies.

Only JPEG lossless, JPEG-LS and 12-bit JPEG need it; starting the process costs about a tenth of a
second. What its C code prints, and what it can read of our environment, ends there too.
"""

from __future__ import annotations

import os
import subprocess
import sys

from chalicelib.errors import UnreadableImage

_CHILD = "chalicelib.inference.decoding.gdcm_child"
_KEPT = ("PATH", "LD_LIBRARY_PATH")
_SECONDS = 20
_MEGABYTES = 1_000


def decode_with_gdcm(
    stream: bytes,
    *,
    syntax: str,
    photometric: str,
    shape: tuple[int, int, int],
    bits: tuple[int, int],
) -> bytes:
    """Decompress one codestream to little-endian samples, colour by pixel.

    `shape`: rows, columns, samples. `bits`: allocated and stored. Raises UnreadableImage when
    GDCM cannot decode it, crashes, or takes too long or too much memory.
    """
    rows, columns, samples = shape
    numbers = (columns, rows, samples, *bits, _MEGABYTES)
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        run = subprocess.run(  # noqa: S603 - our own program, arguments checked by the caller
            [sys.executable, "-m", _CHILD, syntax, photometric, *map(str, numbers)],
            input=stream,
            capture_output=True,
            env=environment,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        failed = True
    else:
        failed = run.returncode != 0
    if failed:
        raise UnreadableImage("The compressed pixel data is damaged.")
    return run.stdout
