"""What the first bytes tell: the format, and the size that an image claims to have."""

from __future__ import annotations

import re
import struct
from typing import Literal, NamedTuple

from chalicelib.errors import UnreadableImage

Format = Literal["PNG", "JPEG", "DICOM"]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8\xff"
J2K_START = b"\xff\x4f\xff\x51"
_DICOM_PREFIX_AT = 128
# Groups that a file without its preamble may open with: file meta information, identification.
_FIRST_GROUPS = frozenset({0x0002, 0x0008})
# Between the start of a JPEG and its frame header stand tables and application segments; a real
# file has a few dozen. The bound keeps a hostile one from holding us here.
_MAX_SEGMENTS = 2_000
_FILLED = re.compile(rb"\xff+")  # a marker's first byte, and any fill before it
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
# SOF0 to SOF15 without DHT, JPG and DAC, and SOF55 of JPEG-LS.
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_END_MARKERS = frozenset({0xD9, 0xDA})


class Frame(NamedTuple):
    """What a codestream says of itself: width and height in pixels, components, bits a sample."""

    width: int
    height: int
    components: int
    precision: int


def sniff(body: bytes) -> Format | None:
    """Tell the format from the bytes alone; None when it is none of the three."""
    if body.startswith(_PNG_SIGNATURE):
        return "PNG"
    if body.startswith(_JPEG_START):
        return "JPEG"
    if body[_DICOM_PREFIX_AT : _DICOM_PREFIX_AT + 4] == b"DICM" or _opens_as_dataset(body):
        return "DICOM"
    return None


def _opens_as_dataset(body: bytes) -> bool:
    """Tell whether the bytes open with a DICOM data element, as files without preamble do."""
    if body.startswith(b"DICM"):
        return True
    if len(body) < 8:  # noqa: PLR2004 - the shortest data element
        return False
    for order in "<>":
        group, element, length = struct.unpack_from(f"{order}HHL", body)
        if group not in _FIRST_GROUPS or element > 0x0100:  # noqa: PLR2004 - low elements only
            continue
        vr = body[4:6]
        if vr in {b"UL", b"OB", b"CS", b"UI", b"DA", b"TM", b"SH", b"LO"}:
            return True
        if 0 < length < min(len(body), 256):
            return True
    return False


def png_frame(body: bytes) -> Frame:
    """Read the size from a PNG's first chunk. Raises UnreadableImage when it is not IHDR."""
    if len(body) < 33 or body[12:16] != b"IHDR":  # noqa: PLR2004 - signature and IHDR chunk
        raise UnreadableImage("The PNG file has no header chunk.")
    width, height, precision, colour = struct.unpack_from(">LLBB", body, 16)
    return Frame(width, height, {0: 1, 3: 1, 4: 2, 6: 4}.get(colour, 3), precision)


def jpeg_frame(stream: bytes) -> Frame:
    """Read the frame header of a JPEG or JPEG-LS stream, any process.

    Raises UnreadableImage when there is none before the first scan.
    """
    at = 2
    for _ in range(_MAX_SEGMENTS):
        found = _FILLED.search(stream, at)
        if found is None or found.end() + 3 > len(stream):
            break
        at = found.end() - 1
        marker = stream[at + 1]
        if marker in _STANDALONE or marker == 0:
            at += 2
            continue
        if marker in _END_MARKERS:
            break
        if marker in _FRAME_MARKERS and at + 10 <= len(stream):
            precision, height, width, components = struct.unpack_from(">BHHB", stream, at + 4)
            return Frame(width, height, components, precision)
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    raise UnreadableImage("The JPEG stream has no frame header.")


def j2k_frame(stream: bytes) -> Frame:
    """Read the SIZ segment of a JPEG 2000 codestream, bare or in a JP2 wrapper.

    Raises UnreadableImage when there is none.
    """
    at = stream.find(J2K_START)
    if at < 0 or at + 44 > len(stream):
        raise UnreadableImage("The JPEG 2000 stream has no size segment.")
    right, bottom, left, top = struct.unpack_from(">LLLL", stream, at + 8)
    components, depth = struct.unpack_from(">HB", stream, at + 40)
    return Frame(right - left, bottom - top, components, (depth & 0x7F) + 1)
