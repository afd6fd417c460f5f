"""DICOM bytes to the few header values that decoding needs, checked; nothing else is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from chalicelib.errors import UnreadableImage
from chalicelib.inference.decoding.dicom_file import read_file

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

    from chalicelib.inference.decoding.plane import Limits

_MAX_TABLE_BYTES = 1_000_000  # bytes of a look-up table, or of a sequence of some
_MAX_ITEMS = 1_000  # of such a sequence
_ITEM_TAGS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
_PIXEL_KINDS = {None, "OB", "OW", "OB or OW", "UN"}
_MAX_ALLOCATED = 16
_MAX_SIDE = 65535
_SAMPLES = {
    "MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1,
    "RGB": 3, "YBR_FULL": 3, "YBR_FULL_422": 3, "YBR_ICT": 3, "YBR_RCT": 3,
}  # fmt: skip


class Header(NamedTuple):
    """The image pixel module, checked: sizes in pixels, depths in bits, frames always 1.

    `data`: the value of Pixel Data as it stands in the file, `vr` its value representation.
    `rest`: the data set, for look-up tables and windows only.
    """

    syntax: UID
    rows: int
    columns: int
    samples: int
    photometric: str
    planar: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    data: bytes
    vr: str
    rest: Dataset


def read_header(body: bytes, limits: Limits) -> Header:
    """Parse and check the header. pydicom's own exceptions pass through.

    Raises TooManyPixels by Rows x Columns x Frames before any pixel is decoded, and
    UnreadableImage for what is no single image of at most 16 bits a sample.
    """
    dataset, syntax = read_file(body, limits)
    if "PixelData" not in dataset or "Rows" not in dataset or "Columns" not in dataset:
        raise UnreadableImage("The DICOM file holds no image.")
    photometric = str(dataset.get("PhotometricInterpretation", "")).strip().upper()
    samples = whole(dataset, "SamplesPerPixel", 1)
    if _SAMPLES.get(photometric) != samples:
        raise UnreadableImage("The photometric interpretation of the DICOM image is not supported.")
    rows, columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    frames = whole(dataset, "NumberOfFrames", 1)
    allocated = whole(dataset, "BitsAllocated")
    stored = whole(dataset, "BitsStored", allocated)
    limits.check(
        columns, rows, frames=frames, sample_bytes=samples * max(1, min(allocated, 64) // 8)
    )
    if rows > _MAX_SIDE or columns > _MAX_SIDE:
        raise UnreadableImage("The DICOM image has an impossible number of rows or columns.")
    if frames > 1:
        raise UnreadableImage(f"The DICOM file holds {frames} frames; send a single image.")
    if allocated not in {1, 8, 16}:
        raise UnreadableImage(
            f"The DICOM image has {allocated} bits a sample; 1, 8 and {_MAX_ALLOCATED} are decoded."
        )
    if not 1 <= stored <= allocated:
        raise UnreadableImage("The bits of the DICOM image contradict each other.")
    high_bit = whole(dataset, "HighBit", stored - 1)
    if dataset.get_item("PixelData").VR not in _PIXEL_KINDS:  # text would be cut to pieces
        raise UnreadableImage("The DICOM file has no pixel data.")
    element = dataset["PixelData"]
    if not isinstance(element.value, bytes) or not element.value:
        raise UnreadableImage("The DICOM file has no pixel data.")
    return Header(
        syntax=syntax,
        rows=rows,
        columns=columns,
        samples=samples,
        photometric=photometric,
        planar=whole(dataset, "PlanarConfiguration", 0),
        allocated=allocated,
        stored=stored,
        high_bit=high_bit if stored - 1 <= high_bit < allocated else stored - 1,
        signed=whole(dataset, "PixelRepresentation", 0) == 1,
        data=element.value,
        vr="OB" if element.VR == "OB" else "OW",
        rest=dataset,
    )


def first(value: Any) -> Any:  # noqa: ANN401 - whatever pydicom made of the element
    """Return the first of several values, None for an empty element."""
    if value is None or isinstance(value, (str, bytes)):
        return value or None
    if hasattr(value, "__getitem__"):
        return value[0] if len(value) else None
    return value


def whole(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """Read one integer. Raises UnreadableImage when it is absent without default, or no integer."""
    value = first(dataset.get(keyword))
    if value is None:
        if default is None:
            raise UnreadableImage(f"The DICOM image lacks {keyword}.")
        return default
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if number < 0:
        raise UnreadableImage(f"{keyword} of the DICOM image is not a whole number.")
    return number


def sequence_item(dataset: Dataset, keyword: str) -> Dataset | None:
    """Return the first item of a sequence, None when there is none.

    A sequence is parsed here, out of the metered stream's sight, so its size is bounded.
    """
    if keyword not in dataset:
        return None
    items = table(dataset, keyword)
    return items[0] if items else None


def table(dataset: Dataset, keyword: str) -> Any:  # noqa: ANN401 - whatever pydicom makes of it
    """Return the value of a look-up table or of a sequence of some, None when there is none.

    Raises UnreadableImage when it is larger than any real one, before it is parsed.
    """
    if keyword not in dataset:
        return None
    value = dataset.get_item(keyword).value
    if isinstance(value, bytes) and (
        len(value) > _MAX_TABLE_BYTES or max(map(value.count, _ITEM_TAGS)) > _MAX_ITEMS
    ):
        raise UnreadableImage("A look-up table of the DICOM image is too large.")
    return dataset[keyword].value
