"""Writes small DICOM files for tests, element by element, so that any value can be wrong."""

from __future__ import annotations

import struct

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
_LONG = {b"OB", b"OW", b"SQ", b"UN", b"UT"}


def element(group: int, number: int, vr: bytes, value: bytes, *, undefined: bool = False) -> bytes:
    """Write one element in Explicit VR Little Endian."""
    value += b"\0" * (len(value) % 2) if vr in _LONG or vr == b"UI" else b" " * (len(value) % 2)
    head = struct.pack("<HH2s", group, number, vr)
    length = 0xFFFFFFFF if undefined else len(value)
    return (
        head + (struct.pack("<HL", 0, length) if vr in _LONG else struct.pack("<H", length)) + value
    )


def short(group: int, number: int, *values: int) -> bytes:
    """Write an unsigned short element."""
    return element(group, number, b"US", struct.pack(f"<{len(values)}H", *values))


def text(group: int, number: int, vr: bytes, value: str) -> bytes:
    """Write a text element."""
    return element(group, number, vr, value.encode())


def item(*elements: bytes) -> bytes:
    """Write one item of a sequence."""
    content = b"".join(elements)
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(content)) + content


def lut_sequence(
    group: int, number: int, descriptor: tuple[int, int, int], data: list[int]
) -> bytes:
    """Write a modality (0028,3000) or VOI (0028,3010) LUT sequence of one item."""
    entries = item(
        short(0x0028, 0x3002, *descriptor),
        element(0x0028, 0x3006, b"OW", struct.pack(f"<{len(data)}H", *data)),
    )
    return element(group, number, b"SQ", entries)


def fragments(*streams: bytes) -> bytes:
    """Encapsulate a codestream: an empty offset table, the fragments, the delimiter."""
    parts = [b"", *(stream + b"\0" * (len(stream) % 2) for stream in streams)]
    framed = b"".join(struct.pack("<HHL", 0xFFFE, 0xE000, len(part)) + part for part in parts)
    return framed + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def dicom(
    pixels: bytes,
    rows: int,
    columns: int,
    *extra: bytes,
    bits: tuple[int, int, int] = (16, 16, 15),
    signed: bool = False,
    photometric: str = "MONOCHROME2",
    samples: int = 1,
    syntax: str = EXPLICIT_LITTLE,
    preamble: bool = True,
    encapsulated: bool = False,
) -> bytes:
    """Write a file. `bits`: allocated, stored, high bit. `extra`: elements in any group."""
    meta = element(0x0002, 0x0010, b"UI", syntax.encode())
    body = [
        *extra,
        short(0x0028, 0x0002, samples),
        text(0x0028, 0x0004, b"CS", photometric),
        short(0x0028, 0x0010, rows),
        short(0x0028, 0x0011, columns),
        short(0x0028, 0x0100, bits[0]),
        short(0x0028, 0x0101, bits[1]),
        short(0x0028, 0x0102, bits[2]),
        short(0x0028, 0x0103, int(signed)),
        element(0x7FE0, 0x0010, b"OB" if encapsulated else b"OW", pixels, undefined=encapsulated),
    ]
    ordered = b"".join(sorted(body, key=lambda e: struct.unpack_from("<HH", e)))
    return (bytes(128) + b"DICM" if preamble else b"") + meta + ordered
