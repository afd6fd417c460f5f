"""A DICOM header costs little to read, whatever lengths and numbers of elements it claims."""

from __future__ import annotations

import struct

import pytest

from chalicelib.errors import UnreadableImage
from chalicelib.inference.imaging import ImageDecoder
from tests.unit.inference.dicom_writer import dicom, element, item, text

DECODER = ImageDecoder()


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
