"""Image bytes to a checked greyscale radiograph, whatever the format; headers stay in here."""

from __future__ import annotations

import hashlib
import warnings
from typing import TYPE_CHECKING

import numpy as np

from chalicelib.domain import ImageInfo, Radiograph
from chalicelib.errors import (
    PayloadTooLarge,
    RequestRefused,
    UnreadableImage,
    UnsupportedMediaType,
)
from chalicelib.inference.decoding.plane import Limits, Plane, Step
from chalicelib.inference.decoding.raster import read_raster
from chalicelib.inference.decoding.sniff import Format, sniff

if TYPE_CHECKING:
    from chalicelib.ports import Gate


class ImageDecoder:
    """The port `Decoder` for PNG, JPEG and DICOM.

    `gate`: when given, a DICOM image that the gate finds inverted, and accepts once it is
    turned round, had a wrong MONOCHROME1 or MONOCHROME2 tag; it is turned round and the step
    `invert_corrected` says so. Without a gate tags are believed.
    """

    def __init__(self, limits: Limits | None = None, gate: Gate | None = None) -> None:
        self._limits = limits or Limits()
        self._gate = gate

    def decode(self, body: bytes) -> Radiograph:
        """Return the checked greyscale image, without any header.

        8-bit greyscale PNG and JPEG keep their values (maxval 255), 16-bit ones theirs (maxval
        65535); DICOM comes as uint16 after its VOI LUT, maxval 65535. Only the bytes decide the
        format. Raises UnsupportedMediaType, UnreadableImage, TooManyPixels or PayloadTooLarge,
        whose details hold no header content.
        """
        if len(body) > self._limits.body:
            raise PayloadTooLarge(
                f"The image has {len(body)} bytes; at most {self._limits.body} are decoded."
            )
        kind = sniff(body)
        if kind is None:
            raise UnsupportedMediaType("The body is neither PNG, JPEG nor DICOM.")
        radiograph = _radiograph(kind, body, self._read(kind, body))
        if kind == "DICOM" and self._gate is not None:
            return _with_right_polarity(radiograph, self._gate)
        return radiograph

    def _read(self, kind: Format, body: bytes) -> Plane:
        """Run the format's reader; let no library's warning, exception or context out."""
        problem: RequestRefused
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if kind != "DICOM":
                    return read_raster(body, kind, self._limits)
                # pydicom takes a third of a second to import; PNG and JPEG do without.
                from chalicelib.inference.decoding.dicom import read_dicom  # noqa: PLC0415

                return read_dicom(body, self._limits)
        except RequestRefused as refused:
            refused.__context__ = None
            problem = refused
        except Exception:  # noqa: BLE001 - a decoder fed with hostile bytes may raise anything
            problem = UnreadableImage(
                f"The {kind} file is damaged or of a kind that cannot be decoded."
            )
        # Raised here, not above: a library's exception must not stay attached as the context,
        # since its text may hold header content and a log would print it.
        raise problem


def _radiograph(kind: Format, body: bytes, plane: Plane) -> Radiograph:
    """Pack a plane with its facts; the sum is of the bytes as sent."""
    height, width = plane.pixels.shape
    info = ImageInfo(
        format=kind,
        width=width,
        height=height,
        sha256=hashlib.sha256(body).hexdigest(),
        steps=tuple(step.value for step in plane.steps),
    )
    ordered = plane.pixels.astype("<u2" if plane.maxval > 255 else np.uint8, copy=False)  # noqa: PLR2004
    return Radiograph(info, ordered.tobytes(), plane.maxval)


def _with_right_polarity(radiograph: Radiograph, gate: Gate) -> Radiograph:
    """Turn black and white round where the image itself contradicts its tag.

    Both judgements must agree: inverted as it is, and acceptable the other way round.
    """
    if "inverted" not in gate.judge(radiograph).reasons:
        return radiograph
    pixels = np.frombuffer(radiograph.pixels, "<u2")
    steps = (*radiograph.info.steps, Step.INVERT_CORRECTED.value)
    turned = Radiograph(
        radiograph.info.model_copy(update={"steps": steps}),
        (radiograph.maxval - pixels).astype("<u2").tobytes(),
        radiograph.maxval,
    )
    return turned if gate.judge(turned).accepted else radiograph
