"""Caps hold before anything is allocated, and nothing of a header leaves the decoder."""

from __future__ import annotations

import contextlib
import gc
import logging
import resource
import struct
import time
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from chalicelib.errors import PayloadTooLarge, RadgateError, TooManyPixels, UnreadableImage
from chalicelib.inference.decoding.isolated import decode_with_gdcm
from chalicelib.inference.decoding.plane import Limits
from chalicelib.inference.decoding.rle import decode_rle
from chalicelib.inference.imaging import ImageDecoder
from tests.unit.inference.dicom_files import every_file, read
from tests.unit.inference.dicom_writer import dicom, element, fragments, item, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DECODER = ImageDecoder()
SECRET = "DOE^JANE"
RLE = "1.2.840.10008.1.2.5"
JPEG = "1.2.840.10008.1.2.4.50"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
DEFLATED = "1.2.840.10008.1.2.1.99"


@pytest.fixture
def frugal() -> Iterator[None]:
    """Fail when the test allocates more than 64 MB in Python or takes two seconds of CPU."""
    gc.collect()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    begun = time.process_time()
    yield
    spent = time.process_time() - begun
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64e6
    assert spent < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident < 100_000  # KB


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


@pytest.mark.usefixtures("frugal")
def test_a_header_of_endless_elements_is_given_up() -> None:
    nested = item(*(text(0x0008, 0x0100, b"SH", "A") for _ in range(40_000)))
    sequences = b"".join(
        element(
            0x0008, 0x1115, b"SQ", nested + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0), undefined=True
        )
        for _ in range(4)
    )

    with pytest.raises(UnreadableImage):
        DECODER.decode(dicom(bytes(8), 2, 2, sequences))


def implicit(*changes: tuple[int, int, bytes], undefined: bool = False) -> bytes:
    """Write a file in Implicit VR, in which every element may have any length; 2 x 2 pixels."""
    usual = [(0x0002, 1), (0x0010, 2), (0x0011, 2), (0x0100, 16), (0x0101, 16), (0x0103, 0)]
    values = {(0x0028, number): struct.pack("<H", value) for number, value in usual}
    values |= {(0x0028, 0x0004): b"MONOCHROME2 ", (0x7FE0, 0x0010): bytes(8)}
    values |= {(group, number): value for group, number, value in changes}
    changed = {change[:2] for change in changes}
    body = b""
    for tag in sorted(values):
        open_ended = undefined and tag in changed
        length = 0xFFFFFFFF if open_ended else len(values[tag])
        end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0) if open_ended else b""
        body += struct.pack("<HHL", *tag, length) + values[tag] + end
    meta = element(0x0002, 0x0010, b"UI", b"1.2.840.10008.1.2")
    return bytes(128) + b"DICM" + meta + body


_LONG_TEXT, _LONG_NUMBERS = b"1\\" * 1_500_000, bytes(3_000_000)


@pytest.mark.usefixtures("frugal")
@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize(
    ("group", "number", "value"),
    [
        (0x0008, 0x0005, _LONG_TEXT),
        (0x0028, 0x0008, _LONG_TEXT),
        (0x0028, 0x0010, _LONG_NUMBERS),
        (0x0028, 0x0120, _LONG_NUMBERS),
        (0x0028, 0x1050, _LONG_TEXT),
        (0x0028, 0x1053, _LONG_TEXT),
        (0x0028, 0x1101, _LONG_NUMBERS),
    ],
)
def test_a_small_element_of_great_length_is_not_read(
    group: int, number: int, value: bytes, *, undefined: bool
) -> None:
    assert DECODER.decode(implicit()).info.width == 2
    with pytest.raises(UnreadableImage, match="element of the DICOM header is too large"):
        DECODER.decode(implicit((group, number, value), undefined=undefined))


@pytest.mark.usefixtures("frugal")
def test_nor_is_one_whose_kind_hides_what_it_is() -> None:
    window = element(0x0028, 0x1050, b"UN", _LONG_TEXT)
    nested = item(element(0x0028, 0x3002, b"UN", _LONG_NUMBERS))
    for extra in (window, element(0x0028, 0x3010, b"SQ", nested, undefined=True)):
        with pytest.raises(UnreadableImage, match="too large"):
            DECODER.decode(dicom(bytes(8), 2, 2, extra))

    pieces = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"UC", 0, len(_LONG_TEXT)) + _LONG_TEXT
    body = dicom(bytes(8), 2, 2)
    with pytest.raises(UnreadableImage, match="no pixel data"):
        DECODER.decode(body[: body.rindex(b"\xe0\x7f\x10\x00")] + pieces)


@pytest.mark.usefixtures("frugal")
def test_a_look_up_table_of_endless_items_or_bytes_is_refused() -> None:
    items = struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 120_000
    for value in (items, bytes(2_000_000)):
        for number in (0x3000, 0x3010):
            with pytest.raises(UnreadableImage, match=r"look-up table .* is too large"):
                DECODER.decode(implicit((0x0028, number, value)))


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


def test_a_body_over_the_limit_is_too_large() -> None:
    with pytest.raises(PayloadTooLarge):
        ImageDecoder(Limits(body=100)).decode(b"\x89PNG\r\n\x1a\n" + bytes(100))


def test_no_header_value_gets_out_by_any_way(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    name = text(0x0010, 0x0010, b"PN", SECRET)
    broken = [
        dicom(bytes(8), 2, 2, name, text(0x0028, 0x0008, b"IS", SECRET)),
        dicom(bytes(8), 2, 2, name, text(0x0028, 0x1050, b"DS", SECRET), photometric=SECRET),
        dicom(bytes(8), 9, 9, name, text(0x0008, 0x0020, b"DA", SECRET)),
        dicom(bytes(8), 2, 2, name, syntax=SECRET),
        dicom(bytes(8), 2, 2, name, text(0x0008, 0x0005, b"CS", SECRET), bits=(16, 40, 3)),
        dicom(SECRET.encode() * 2, 2, 2, name, syntax=JPEG, encapsulated=True),
    ]

    for body in broken:
        with pytest.raises(RadgateError) as caught:
            DECODER.decode(body)
        error = caught.value
        assert SECRET not in f"{error!r} {error.detail}"
        assert error.__context__ is None
        assert error.__cause__ is None
    whole = DECODER.decode(dicom(bytes(8), 2, 2, name))
    assert SECRET not in repr(whole)
    assert SECRET.encode() not in whole.pixels
    printed = capfd.readouterr()
    assert SECRET not in caplog.text + printed.out + printed.err


def test_the_libraries_neither_log_nor_warn(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)

    for path in every_file().values():
        if path.stat().st_size < 600_000:
            with contextlib.suppress(RadgateError):
                DECODER.decode(path.read_bytes())

    assert caplog.records == []
    # What the codecs' C code prints is about their own stream, in words of its own.
    known = ("Unsupported JPEG data precision", "Invalid SOS parameters", "Invalid number of tiles")
    assert [
        line for line in capfd.readouterr().err.splitlines() if not line.startswith(known)
    ] == []
