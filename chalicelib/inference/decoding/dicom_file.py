"""DICOM bytes to a data set of image elements, in bounded time and memory."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import TYPE_CHECKING

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from chalicelib.errors import TooManyPixels, UnreadableImage
from chalicelib.inference.decoding.quiet import silence

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from chalicelib.inference.decoding.plane import Limits

# pydicom checks values when it reads them and warns with the value in the text; we check the few
# that we use ourselves, and no header value may reach a log.
silence("pydicom")
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

_IMAGE_TAGS = (
    "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation",
    "PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept",
    "ModalityLUTSequence", "VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction",
    "RedPaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData", "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData", "PixelData",
)  # fmt: skip
# What is no table and no pixels has a few dozen bytes at most. Where a length has 32 bits, an
# element of numbers can have gigabytes, and pydicom makes an object of every number: so they are
# not even read. The last three are those that it looks at beside ours.
_TABLES = ("LookupTableData", "LUTSequence", "PixelData")
_SMALL = frozenset(
    struct.pack(f"{order}HH", *divmod(tag_for_keyword(name) or 0, 1 << 16))
    for name in (
        *(name for name in _IMAGE_TAGS if not name.endswith(_TABLES)),
        "LUTDescriptor", "SpecificCharacterSet", "TransferSyntaxUID",
    )
    for order in "<>"
)  # fmt: skip
_MAX_SMALL_BYTES = 4096
# Every element costs at least one read, however deeply it is nested, so this bounds the time that
# a hostile header can take to well under a second. Real headers need a few hundred.
_MAX_READS = 20_000


class _MeteredStream(BytesIO):
    """Bytes that may be read only so many times, and no small element at a great length."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._body = body
        self._left = _MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise UnreadableImage("The DICOM header has too many elements.")
        if size is None or not 0 <= size <= _MAX_SMALL_BYTES:
            # A value, or its first piece where its length is not told, follows its tag and length:
            # four bytes after the tag, or eight where its kind, two letters, stands between.
            at = self.tell()
            tag = at - 12 if self._body[at - 8 : at - 6].isupper() else at - 8
            if self._body[tag : tag + 4] in _SMALL:
                raise UnreadableImage("An element of the DICOM header is too large.")
        return super().read(size)


def read_file(body: bytes, limits: Limits) -> tuple[Dataset, UID]:
    """Read the image elements, no others, and settle the transfer syntax.

    A deflated file is answered as the Explicit VR Little Endian that it unpacks to. Raises
    UnreadableImage or TooManyPixels; pydicom's own exceptions pass through.
    """
    syntax, end = _meta(body)
    if syntax == DeflatedExplicitVRLittleEndian:
        inflated = _inflate(body[end:], limits)
        stream = _MeteredStream(inflated)
        dataset = read_dataset(
            stream,
            is_implicit_VR=False,
            is_little_endian=True,
            specific_tags=[tag_for_keyword(name) or 0 for name in _IMAGE_TAGS],
        )
        _check_whole(dataset, stream)
        return dataset, ExplicitVRLittleEndian
    if DeflatedExplicitVRLittleEndian.encode() in body:
        # Named where we did not find it but a laxer reader might, and would inflate unbounded.
        raise UnreadableImage("The DICOM file names its transfer syntax in a broken way.")
    stream = _MeteredStream(body)
    file = pydicom.dcmread(stream, force=True, specific_tags=list(_IMAGE_TAGS))
    _check_whole(file, stream)
    named = file.file_meta.get("TransferSyntaxUID")
    if named:
        return file, UID(str(named))
    implicit, little = file.original_encoding
    if implicit:
        return file, ImplicitVRLittleEndian
    return file, ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _check_whole(dataset: Dataset, stream: _MeteredStream) -> None:
    """Raise UnreadableImage where the end of an element of untold length is missing.

    pydicom then gives back no element at all, and goes back in the stream to where that one began.
    """
    if not dataset and stream.tell() < stream.getbuffer().nbytes:
        raise UnreadableImage("The DICOM file is cut short.")


def _meta(body: bytes) -> tuple[str, int]:
    """Walk group 2 of a file with preamble; return its transfer syntax and where it ends.

    Only to learn whether the rest is deflated before a library inflates it without bound.
    """
    at = 132 if body[128:132] == b"DICM" else 0
    syntax = ""
    while at + 8 <= len(body):
        group, element, vr, length = struct.unpack_from("<HH2sH", body, at)
        if group != 0x0002:  # noqa: PLR2004 - file meta information
            break
        at += 8
        if vr in {b"OB", b"OW", b"UN", b"UT", b"SQ", b"UC", b"UR"}:
            length = int.from_bytes(body[at : at + 4], "little")
            at += 4
        if element == 0x0010:  # noqa: PLR2004 - Transfer Syntax UID
            syntax = body[at : at + length].rstrip(b"\0 ").decode("ascii", "replace")
        at += length
    return syntax, at


def _inflate(deflated: bytes, limits: Limits) -> bytes:
    """Unpack a deflated data set. Raises TooManyPixels when it would outgrow the limit."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = unpacker.decompress(deflated, limits.decoded + limits.body)
    if unpacker.unconsumed_tail:
        raise TooManyPixels("The deflated DICOM file unpacks to more than we decode.")
    return inflated
