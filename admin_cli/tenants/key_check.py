"""The checksums of many keys at once: what `chalicelib.tenants.keys` does for one, over arrays.

CRC-32 is affine, so the sum of a text is that of nothing but noughts, combined by XOR with what
each of its bytes changes at its own place. One table for each place turns that into a look-up.
"""

from __future__ import annotations

import string
import zlib
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

LENGTH = 41  # of a key, in characters
_SUMMED = 35  # of those, what the checksum is of; it takes the rest
_LETTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_NONE = 255


def keys_at(text: bytes, stride: int, last: int) -> tuple[list[int], list[int], list[str]]:
    """Return of each key that begins in `text`, at `last` at most, in order, three things.

    Where it begins, how many newlines stand before it, and the key.

    `stride`: bytes from one character to the next, 1 in ASCII and 2 in UTF-16; those in between
    must be nought.
    """
    data = np.frombuffer(text, np.uint8)
    span = stride * (LENGTH - 1) + 1
    count = min(last + 1, data.size - span + 1)
    if count < 1:
        return [], [], []
    pairs = (data[:count] == ord("r")) & (data[stride : stride + count] == ord("g"))
    begins = np.flatnonzero(pairs)
    third = data[begins + 2 * stride]
    begins = begins[(third == ord("l")) | (third == ord("t"))]
    rows = sliding_window_view(data, span)[begins]
    letters = np.ascontiguousarray(rows[:, ::stride])
    good = _end_with_their_sums(np.ascontiguousarray(letters.T))
    if stride > 1:
        good &= ~rows[:, 1::stride].any(axis=1)
    # All of them at once, as chance alone could make another text have its sum.
    if not letters[good].tobytes().isalnum():
        good &= (_values()[letters] != _NONE).all(axis=1)
    begins, found = begins[good], letters[good].tobytes().decode("ascii")
    newlines = np.searchsorted(np.flatnonzero(data == ord("\n")), begins)
    secrets = [found[first : first + LENGTH] for first in range(0, len(found), LENGTH)]
    return begins.tolist(), newlines.tolist(), secrets


def _end_with_their_sums(columns: NDArray[np.uint8]) -> NDArray[np.bool]:
    """Tell of each column whether it ends with the checksum of what stands before."""
    changes, noughts, places = _sums()
    sums = np.bitwise_xor.reduce(changes.take(columns[:_SUMMED] + places), initial=noughts)
    weights = len(_LETTERS) ** np.arange(LENGTH - _SUMMED - 1, -1, -1, dtype=np.int64)
    good: NDArray[np.bool] = sums == weights @ _values()[columns[_SUMMED:]].astype(np.int64)
    return good


@cache
def _values() -> NDArray[np.uint8]:
    """Return what each byte is worth as a digit of base 62; `_NONE`: it is no digit."""
    values = np.full(256, _NONE, np.uint8)
    values[np.frombuffer(_LETTERS.encode(), np.uint8)] = np.arange(len(_LETTERS))
    return values


@cache
def _sums() -> tuple[NDArray[np.uint32], np.uint32, NDArray[np.uint16]]:
    """Return what each byte changes at each place, the sum of noughts, and where a place begins."""
    noughts = zlib.crc32(bytes(_SUMMED))
    changes = [
        zlib.crc32(bytes(place) + bytes([byte]) + bytes(_SUMMED - place - 1)) ^ noughts
        for place in range(_SUMMED)
        for byte in range(256)
    ]
    places = 256 * np.arange(_SUMMED, dtype=np.uint16)[:, None]
    return np.array(changes, np.uint32), np.uint32(noughts), places
