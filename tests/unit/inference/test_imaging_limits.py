"""Sizes are counted before anything is allocated by them: pixels, frames, unpacked bytes."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from chalicelib.errors import PayloadTooLarge, TooManyPixels, UnreadableImage
from chalicelib.inference.decoding.plane import Limits
from chalicelib.inference.decoding.rle import decode_rle
from chalicelib.inference.imaging import ImageDecoder
from tests.unit.inference.dicom_writer import dicom, element, fragments, text

if TYPE_CHECKING:
    from collections.abc import Callable

DECODER = ImageDecoder()
RLE = "1.2.840.10008.1.2.5"
JPEG = "1.2.840.10008.1.2.4.50"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
DEFLATED = "1.2.840.10008.1.2.1.99"


def bomb_png(width: int, height: int) -> bytes:
    header = struct.pack(">LLBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(5_000_000), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))
        for name, data in chunks
    )


def resized_jpeg(body: bytes, width: int, height: int) -> bytes:
    at = body.index(b"\xff\xc0") if b"\xff\xc0" in body else body.index(b"\xff\xc2")
    return body[: at + 5] + struct.pack(">HH", height, width) + body[at + 9 :]


def j2k_header(width: int, height: int) -> bytes:
    size = struct.pack(">HLLLLLLLLH", 0, width, height, 0, 0, width, height, 0, 0, 1)
    return b"\xff\x4f\xff\x51\x00\x29" + size + b"\x07\x01\x01" + bytes(64)


@pytest.mark.usefixtures("frugal")
def test_pixels_are_counted_before_they_are_decoded(encode: Callable[..., bytes]) -> None:
    jpeg = encode(np.zeros((16, 16), np.uint8), "JPEG")
    frames = text(0x0028, 0x0008, b"IS", "2000000")
    bodies = [
        bomb_png(50_000, 50_000),
        bomb_png(2**31 - 1, 2**31 - 1),
        resized_jpeg(jpeg, 65_500, 65_500),
        dicom(bytes(8), 60_000, 60_000),
        dicom(bytes(8), 100, 100, frames),
        dicom(bytes(8), 8_000, 6_000, samples=3, photometric="RGB"),
    ]

    for body in bodies:
        with pytest.raises(TooManyPixels):
            DECODER.decode(body)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_transparency_counts_as_four_channels(encode: Callable[..., bytes], mode: str) -> None:
    clear = (0, 0, 0) if mode == "RGB" else 0
    picture = Image.new(mode, (200, 100))

    assert ImageDecoder(Limits(decoded=80_000)).decode(encode(picture, transparency=clear))
    with pytest.raises(TooManyPixels, match=r"4 byte\(s\)"):
        ImageDecoder(Limits(decoded=79_999)).decode(encode(picture, transparency=clear))


@pytest.mark.usefixtures("frugal")
def test_a_codestream_may_not_claim_more_than_its_header(encode: Callable[..., bytes]) -> None:
    jpeg = resized_jpeg(encode(np.zeros((16, 16), np.uint8), "JPEG"), 60_000, 60_000)
    for syntax, stream in [(JPEG, jpeg), (JPEG_2000, j2k_header(60_000, 60_000))]:
        body = dicom(fragments(stream), 16, 16, bits=(8, 8, 7), syntax=syntax, encapsulated=True)
        with pytest.raises(UnreadableImage, match="contradicts"):
            DECODER.decode(body)


@pytest.mark.usefixtures("frugal")
def test_a_deflated_file_is_inflated_only_so_far() -> None:
    limits = Limits(body=1_000_000, decoded=4_000_000)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = b"".join(packer.compress(bytes(1_000_000)) for _ in range(200)) + packer.flush()
    meta = bytes(128) + b"DICM" + element(0x0002, 0x0010, b"UI", DEFLATED.encode())

    with pytest.raises(TooManyPixels, match="unpacks"):
        ImageDecoder(limits).decode(meta + packed)
    # The same with a meta group that only a lax reader understands: implicit, and so not ours.
    hidden = struct.pack("<HHL", 0x0002, 0x0010, 22) + DEFLATED.encode()
    with pytest.raises(UnreadableImage, match="broken way"):
        ImageDecoder(limits).decode(bytes(128) + b"DICM" + hidden + packed[:400_000])


@pytest.mark.usefixtures("frugal")
def test_run_lengths_stop_at_the_promised_size() -> None:
    # 1 MB of runs would unpack to 64 MB; the header promises 256 pixels.
    stream = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\xff" * 500_000
    body = dicom(fragments(stream), 16, 16, bits=(8, 8, 7), syntax=RLE, encapsulated=True)

    assert set(DECODER.decode(body).pixels) == {255}
    with pytest.raises(UnreadableImage, match="too early"):
        decode_rle(stream[:10_000], 1, 10**9)


def test_a_body_over_the_limit_is_too_large() -> None:
    with pytest.raises(PayloadTooLarge):
        ImageDecoder(Limits(body=100)).decode(b"\x89PNG\r\n\x1a\n" + bytes(100))
