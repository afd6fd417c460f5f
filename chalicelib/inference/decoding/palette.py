"""DICOM look-up tables: palettes to grey, and the items of modality and VOI LUT sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chalicelib.errors import UnreadableImage
from chalicelib.inference.decoding.dicom_header import first, table
from chalicelib.inference.decoding.lookup import Lut
from chalicelib.inference.decoding.plane import Step, luma

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

_MAX_ENTRIES = 1 << 16
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


def lut_of(item: Dataset, *, signed_input: bool, order: str) -> Lut:
    """Read one item of a modality or VOI LUT sequence.

    `signed_input`: whether the first value mapped is to be read as signed. `order`: "<" or ">",
    the byte order of the file. Raises UnreadableImage when descriptor and data do not fit.
    """
    entries, start, bits = _descriptor(item.get("LUTDescriptor"), order, signed=signed_input)
    data = _words(table(item, "LUTData"), entries, bits, order)
    return Lut(data.astype(np.float64), start, bits)


def palette_table(
    dataset: Dataset, stored: NDArray[np.float64], order: str
) -> tuple[NDArray[np.uint16], tuple[Step, ...]]:
    """Map each stored value, float64 (N,), through the palette to uint16 grey (N,).

    `order`: "<" or ">", the byte order of the file.
    Colours of equal channels convert exactly, others by their luma. Raises UnreadableImage for
    a palette that is missing or broken.
    """
    colours = np.empty((1, len(stored), 3), np.uint16)
    for channel, colour in enumerate(("Red", "Green", "Blue")):
        key = f"{colour}PaletteColorLookupTable"
        entries, start, bits = _descriptor(dataset.get(f"{key}Descriptor"), order, signed=False)
        segmented = table(dataset, f"Segmented{key}Data")
        if segmented is None:
            data = _words(table(dataset, f"{key}Data"), entries, bits, order)
        else:
            data = _unfold(_words(segmented, None, bits, order), entries)
        # An 8-bit entry may stand in the low byte of its word or be repeated in both.
        if bits <= 8 and data.max(initial=0) <= 255:  # noqa: PLR2004
            data = data * 257
        index = np.clip(stored - start, 0, len(data) - 1).astype(np.int64)
        colours[0, :, channel] = data[index]
    grey, differ = luma(colours)
    steps = (Step.PALETTE, Step.LUMA) if differ else (Step.PALETTE,)
    return grey[0].astype(np.uint16), steps


def _descriptor(value: Any, order: str, *, signed: bool) -> tuple[int, int, int]:  # noqa: ANN401
    """Read entries, first value mapped and bits, whichever of US and SS pydicom chose."""
    if isinstance(value, bytes):
        value = np.frombuffer(value[:6], f"{order}u2").tolist()
    if value is None or first(value) is None or len(value) != 3:  # noqa: PLR2004
        raise UnreadableImage("A look-up table of the DICOM image has no descriptor.")
    entries, start, bits = (int(part) & 0xFFFF for part in value)
    if signed and start > 0x7FFF:  # noqa: PLR2004 - two's complement
        start -= 0x10000
    if not 1 <= bits <= 16:  # noqa: PLR2004
        raise UnreadableImage("A look-up table of the DICOM image has an impossible depth.")
    return entries or _MAX_ENTRIES, start, bits


def _words(value: Any, entries: int | None, bits: int, order: str) -> NDArray[np.uint32]:  # noqa: ANN401
    """Read table data as uint32, from words or, at 8 bits, from packed bytes."""
    if value is None:
        raise UnreadableImage("A look-up table of the DICOM image has no data.")
    if isinstance(value, bytes):
        packed = entries is not None and bits <= 8 and len(value) < 2 * entries  # noqa: PLR2004
        # Values of an even length are words in the file's byte order, packed bytes as well.
        words = np.frombuffer(value + b"\0" * (len(value) % 2), f"{order}u2").astype("<u2")
        data = words.view(np.uint8 if packed else "<u2").astype(np.uint32)
    else:
        listed = np.atleast_1d(np.asarray(value))
        if listed.dtype.kind not in "iu" or listed.ndim != 1:
            raise UnreadableImage("A look-up table of the DICOM image has no numbers.")
        data = (listed.astype(np.int64) & 0xFFFF).astype(np.uint32)
    if entries is None:
        return data
    if len(data) < entries:
        raise UnreadableImage("A look-up table of the DICOM image is too short.")
    return data[:entries]


def _unfold(words: NDArray[np.uint32], entries: int) -> NDArray[np.uint32]:
    """Unfold a segmented palette (PS3.3 C.7.9.2) to `entries` values, and never to more.

    Segments may repeat earlier ones, so an unbounded unfolding could grow without end.
    """
    out: list[int] = []
    at = 0
    while len(out) < entries and at + 2 < len(words) + 1:
        at = _segment(words, at, out, entries)
    if len(out) < entries:
        raise UnreadableImage("A segmented palette of the DICOM image is too short.")
    return np.asarray(out[:entries], np.uint32)


def _segment(words: NDArray[np.uint32], at: int, out: list[int], entries: int) -> int:
    """Append one segment's values and return where the next begins."""
    kind, length = int(words[at]), int(words[at + 1])
    broken = "A segmented palette of the DICOM image is broken."
    if kind == _DISCRETE:
        out.extend(int(word) for word in words[at + 2 : at + 2 + length])
        return at + 2 + length
    if kind == _LINEAR:
        if not out or at + 2 >= len(words) or length == 0:
            raise UnreadableImage(broken)
        ramp = np.linspace(out[-1], int(words[at + 2]), length + 1)[1:]
        out.extend(int(value) for value in np.rint(ramp))
        return at + 3
    if kind == _INDIRECT and at + 3 < len(words):
        target = int(words[at + 2]) | int(words[at + 3]) << 16
        for _ in range(length):
            if len(out) >= entries:
                break
            # Only what stands before may be repeated, and no indirection within it.
            if target + 1 >= at or int(words[target]) == _INDIRECT:
                raise UnreadableImage(broken)
            target = _segment(words, target, out, entries)
        return at + 4
    raise UnreadableImage(broken)
