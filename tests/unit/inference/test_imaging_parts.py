"""Files of endless parts are given up, and GDCM is kept in a process of its own."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from chalicelib.errors import UnreadableImage
from chalicelib.inference.decoding.isolated import decode_with_gdcm
from chalicelib.inference.imaging import ImageDecoder
from tests.unit.inference.dicom_files import read
from tests.unit.inference.dicom_writer import dicom, fragments

if TYPE_CHECKING:
    from collections.abc import Callable

DECODER = ImageDecoder()
JPEG = "1.2.840.10008.1.2.4.50"
JPEG_2000 = "1.2.840.10008.1.2.4.90"


@pytest.mark.usefixtures("frugal")
def test_a_jpeg_of_endless_scans_is_refused(encode: Callable[..., bytes]) -> None:
    body = encode(np.zeros((64, 64), np.uint8), "JPEG", progressive=True)
    scan = body[body.rindex(b"\xff\xda") : -2]

    with pytest.raises(UnreadableImage, match="scans"):
        DECODER.decode(body[:-2] + scan * 500 + b"\xff\xd9")


def test_an_image_of_endless_parts_is_refused(encode: Callable[..., bytes]) -> None:
    jpeg = encode(np.zeros((16, 16), np.uint8), "JPEG")
    frame = jpeg.index(b"\xff\xc0")
    after = frame + 2 + int.from_bytes(jpeg[frame + 2 : frame + 4], "big")
    endless = [
        jpeg[:at] + part * 300_000 + jpeg[at:]
        for at in (2, after)
        for part in (b"\xff\xfe\x00\x02", b"\xff\x00", b"\xff", b"\xff\xd0")
    ]
    png = encode(np.zeros((16, 16), np.uint8), "PNG")
    data = png.index(b"IDAT") - 4
    for name in (b"prIv", b"tEXt", b"IDAT"):
        part = struct.pack(">L", 0) + name + struct.pack(">L", zlib.crc32(name))
        endless.append(png[:data] + part * 300_000 + png[data:])

    streams = [fragments(body) for body in endless[:8]]
    endless += [dicom(s, 16, 16, bits=(8, 8, 7), syntax=JPEG, encapsulated=True) for s in streams]
    for body in endless:
        with pytest.raises(UnreadableImage, match=r"too many parts|no frame header"):
            DECODER.decode(body)
    few = [jpeg[:2] + b"\xff" * 1000 + jpeg[2:], png[:data] + part * 1000 + png[data:]]
    assert [DECODER.decode(body).info.width for body in few] == [16, 16]


def jpeg_2000(encode: Callable[..., bytes], side: int, **options: object) -> bytes:
    """Write a grey JPEG 2000 stream."""
    return encode(np.full((side, side), 7, np.uint8), "JPEG2000", no_jp2=True, **options)


def wrapped(stream: bytes, side: int) -> bytes:
    """Put a JPEG 2000 stream into a DICOM file."""
    coded = fragments(stream)
    return dicom(coded, side, side, bits=(8, 8, 7), syntax=JPEG_2000, encapsulated=True)


def restyled(stream: bytes, side: int, cod: bytes) -> bytes:
    """Give a stream another coding style, and another size for itself and its one tile."""
    sides = struct.pack(">6L", side, side, 0, 0, side, side)
    stream = stream[:8] + sides + stream[32:]
    at = stream.index(b"\xff\x52")
    end = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    # A comment first: a header need not have its segments where encoders put them.
    comment = b"\xff\x64\x00\x06\x00\x01hi"
    style = struct.pack(">2sH", b"\xff\x52", len(cod) + 2) + cod
    return stream[:at] + comment + style + stream[end:]


def cod(levels: int = 5, layers: int = 1, block: int = 4, precinct: int | None = None) -> bytes:
    """Write a coding style; block and precinct sides as JPEG 2000 has them."""
    own = b"" if precinct is None else bytes([precinct * 17]) * (levels + 1)
    return struct.pack(">BBHB5B", len(own) > 0, 0, layers, 0, levels, block, block, 0, 1) + own


@pytest.mark.usefixtures("frugal")
@pytest.mark.parametrize(
    "style",
    [
        cod(block=0),
        cod(precinct=1),
        cod(precinct=0),
        cod(layers=65535, precinct=9),
        cod(32, block=0),
    ],
)
def test_jpeg_2000_of_endless_parts_is_refused(encode: Callable[..., bytes], style: bytes) -> None:
    with pytest.raises(UnreadableImage, match="too many parts"):
        DECODER.decode(wrapped(restyled(jpeg_2000(encode, 64), 6000, style), 6000))


@pytest.mark.usefixtures("frugal")
def test_jpeg_2000_of_endless_tiles_is_refused(encode: Callable[..., bytes]) -> None:
    with pytest.raises(UnreadableImage, match="too many tiles"):
        DECODER.decode(wrapped(jpeg_2000(encode, 300, tile_size=(2, 2)), 300))


def test_a_style_of_few_parts_is_decoded(encode: Callable[..., bytes]) -> None:
    stream = jpeg_2000(encode, 64)
    decoded = DECODER.decode(wrapped(restyled(stream, 64, cod()), 64))
    assert decoded.pixels == DECODER.decode(wrapped(stream, 64)).pixels


@pytest.mark.parametrize(
    "options",
    [
        {"codeblock_size": (4, 4)},
        {"precinct_size": (32, 32), "codeblock_size": (16, 16)},
        {"tile_size": (16, 16)},
        {"quality_layers": [40, 20, 10, 5, 1]},
    ],
)
def test_jpeg_2000_of_many_parts_is_decoded(
    encode: Callable[..., bytes], options: dict[str, object]
) -> None:
    decoded = DECODER.decode(wrapped(jpeg_2000(encode, 500, **options), 500))
    assert set(np.frombuffer(decoded.pixels, "<u2")) == {7 * 257}


@pytest.mark.usefixtures("frugal")
def test_a_large_jpeg_of_many_scans_is_refused(encode: Callable[..., bytes]) -> None:
    body = encode(np.zeros((64, 64), np.uint8), "JPEG", progressive=True)
    scan = body[body.rindex(b"\xff\xda") : -2]
    frame = body.index(b"\xff\xc2")
    many = body[:-2] + scan * 30 + b"\xff\xd9"
    assert DECODER.decode(many).info.width == 64
    size = struct.pack(">HH", 6500, 6500)
    with pytest.raises(UnreadableImage, match="too many scans"):
        DECODER.decode(many[: frame + 5] + size + many[frame + 9 :])


def test_a_crash_of_gdcm_stays_in_its_own_process() -> None:
    body = read("JPGExtended.dcm")
    tables = body.index(b"\xff\xc4")
    # Without this table GDCM throws an exception that nobody catches, and its process aborts.
    damaged = body[:tables] + body[tables + 40 :]

    with pytest.raises(UnreadableImage, match="damaged"):
        DECODER.decode(damaged)


def test_gdcm_gets_no_more_memory_than_its_share() -> None:
    with pytest.raises(UnreadableImage, match="damaged"):
        decode_with_gdcm(
            b"\xff\xd8\xff\xd9",
            syntax="1.2.840.10008.1.2.4.70",
            photometric="MONOCHROME2",
            shape=(60_000, 60_000, 1),
            bits=(16, 16),
        )
