"""DICOM to greyscale: one decompressed frame through the grey pipeline or the palette."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom import uid

from chalicelib.inference.decoding.codec import SETTLED, decode_samples
from chalicelib.inference.decoding.dicom_header import Header, first, read_header, sequence_item
from chalicelib.inference.decoding.lookup import WHITE, Lut, Pipeline, Window
from chalicelib.inference.decoding.palette import lut_of, palette_table
from chalicelib.inference.decoding.plane import Plane, Step, chunks, luma

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chalicelib.inference.decoding.plane import Grey, Limits


def read_dicom(body: bytes, limits: Limits) -> Plane:
    """Decode the single image of a DICOM file to uint16 grey, maxval 65535.

    Order: decompress, modality LUT, VOI LUT (a LUT before a window, the first of several),
    output range, inversion of MONOCHROME1. Raises UnreadableImage or TooManyPixels; the
    exceptions of pydicom and the codecs pass through.
    """
    header = read_header(body, limits)
    samples, photometric = decode_samples(header)
    if header.samples == 1:
        return _mapped(header, samples)
    return _colour(header, samples, photometric)


def _mapped(header: Header, samples: NDArray[Any]) -> Plane:
    """Map single samples to grey through one table for all values that can occur."""
    bits = samples.dtype.itemsize * 8
    patterns = samples.view(f"u{bits // 8}")
    count = 1 << bits
    stored = _stored_values(header, samples, count)
    if header.photometric == "PALETTE COLOR":
        table, steps = palette_table(header.rest, stored, _order(header))
    else:
        present = np.zeros(count, np.bool_)
        for band in chunks(header.rows, header.columns):
            present[patterns[band].ravel()] = True
        table, steps = _pipeline(header).table(stored, present)
    grey = np.empty(patterns.shape, np.uint16)
    for band in chunks(header.rows, header.columns):
        np.take(table, patterns[band], out=grey[band], mode="clip")
    return Plane(grey, WHITE, steps)


def _stored_values(header: Header, samples: NDArray[Any], count: int) -> NDArray[np.float64]:
    """Give each bit pattern of the container the value that it stands for, float64 (count,).

    A codec has already settled sign and width; raw and run-length coded samples may carry
    anything in the bits around the stored ones.
    """
    patterns = np.arange(count, dtype=f"u{samples.dtype.itemsize}")
    if header.syntax in SETTLED:
        return patterns.view(samples.dtype).astype(np.float64)
    values = (patterns.astype(np.int64) >> (header.high_bit + 1 - header.stored)) & (
        (1 << header.stored) - 1
    )
    if header.signed:
        values -= (values >> (header.stored - 1)) << header.stored
    return values.astype(np.float64)


def _order(header: Header) -> str:
    return ">" if header.syntax == uid.ExplicitVRBigEndian else "<"


def _pipeline(header: Header) -> Pipeline:
    """Read modality LUT, VOI LUT or window, padding and inversion from the header."""
    dataset = header.rest
    half = 1 << (header.stored - 1)
    low, high = (-half, half - 1) if header.signed else (0, 2 * half - 1)
    modality: Lut | tuple[float, float] | None = None
    item = sequence_item(dataset, "ModalityLUTSequence")
    slope, intercept = number(dataset.get("RescaleSlope")), number(dataset.get("RescaleIntercept"))
    if item is not None:
        modality = lut_of(item, signed_input=header.signed, order=_order(header))
    elif slope:
        modality = slope, intercept or 0.0
    voi: Lut | Window | None = None
    item = sequence_item(dataset, "VOILUTSequence")
    centre, width = number(dataset.get("WindowCenter")), number(dataset.get("WindowWidth"))
    if item is not None:
        # The first value mapped is signed when what goes in can be negative (PS3.3 C.11.2.1.1).
        slope, intercept = (1.0, 0.0) if isinstance(modality, Lut) else modality or (1.0, 0.0)
        least = 0.0 if isinstance(modality, Lut) else min(low * slope, high * slope) + intercept
        voi = lut_of(item, signed_input=least < 0, order=_order(header))
    elif centre is not None and width is not None:
        function = str(first(dataset.get("VOILUTFunction")) or "LINEAR").strip().upper()
        voi = Window(centre, width, function)
    pad = number(dataset.get("PixelPaddingValue"))
    limit = number(dataset.get("PixelPaddingRangeLimit"))
    padding = None
    if pad is not None:
        limit = pad if limit is None else limit
        padding = (int(min(pad, limit)), int(max(pad, limit)))
    return Pipeline(low, high, modality, voi, padding, header.photometric == "MONOCHROME1")


def number(value: Any) -> float | None:  # noqa: ANN401 - whatever pydicom made of the element
    """Read the first of several decimal values; None when there is none or it is not finite."""
    value = first(value)
    try:
        parsed = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return parsed if math.isfinite(parsed) else None


def _colour(header: Header, samples: NDArray[Any], photometric: str) -> Plane:
    """Turn colour to uint16 grey. The first channel of YCbCr is the luma itself."""
    unsigned: Grey = samples.view(f"u{samples.dtype.itemsize}")
    if photometric.startswith("YBR"):
        grey = unsigned[..., 0]
        middle = 1 << (8 * samples.dtype.itemsize - 1)
        differ = any(
            bool((unsigned[band, :, 1:] != middle).any())
            for band in chunks(header.rows, header.columns)
        )
    else:
        grey, differ = luma(unsigned)
    top = (1 << (header.stored if header.allocated == 16 else 8)) - 1  # noqa: PLR2004
    out = np.empty(grey.shape, np.uint16)
    for band in chunks(header.rows, header.columns):
        scaled = grey[band].astype(np.uint32) * WHITE + top // 2
        out[band] = np.minimum(scaled // top, WHITE)
    return Plane(out, WHITE, (Step.LUMA,) if differ else ())
