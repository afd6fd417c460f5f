"""DICOM's run-length coding (PS3.5 annex G), bounded by the size that the header promised.

A run unpacks to at most 64 times its size, so an unbounded decoder turns a 100 MB file into
gigabytes; this one stops at the byte that completes the segment.
"""

from __future__ import annotations

import struct

from chalicelib.errors import UnreadableImage

_HEADER = struct.Struct("<16L")


def decode_rle(stream: bytes, segments: int, segment_bytes: int) -> list[bytes]:
    """Unpack one frame into `segments` byte planes of `segment_bytes` each, most significant first.

    Raises UnreadableImage when the header or a segment does not fit that size.
    """
    if len(stream) < _HEADER.size:
        raise UnreadableImage("The run-length coded pixel data has no header.")
    count, *offsets = _HEADER.unpack_from(stream)
    if count != segments:
        raise UnreadableImage("The run-length coded pixel data has the wrong number of segments.")
    starts = offsets[:count]
    ends = [*starts[1:], len(stream)]
    return [
        _unpack(stream, start, min(end, len(stream)), segment_bytes)
        for start, end in zip(starts, ends, strict=True)
    ]


def _unpack(stream: bytes, at: int, end: int, size: int) -> bytes:
    """Unpack PackBits: n < 128 copies n + 1 bytes, n > 128 repeats one byte 257 - n times."""
    out = bytearray()
    while len(out) < size and at < end - 1:
        control = stream[at]
        if control < 128:  # noqa: PLR2004 - see above
            out += stream[at + 1 : min(at + 2 + control, end)]
            at += control + 2
        elif control > 128:  # noqa: PLR2004
            out += stream[at + 1 : at + 2] * (257 - control)
            at += 2
        else:
            at += 1
    if len(out) < size:
        raise UnreadableImage("The run-length coded pixel data ends too early.")
    return bytes(out[:size])
