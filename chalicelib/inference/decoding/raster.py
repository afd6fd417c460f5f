"""PNG and JPEG to greyscale; Pillow is known here only (and to pydicom)."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from chalicelib.errors import UnreadableImage
from chalicelib.inference.decoding.plane import Plane, Step
from chalicelib.inference.decoding.quiet import silence
from chalicelib.inference.decoding.sniff import jpeg_frame, png_frame

if TYPE_CHECKING:
    from chalicelib.inference.decoding.plane import Limits
    from chalicelib.inference.decoding.sniff import Frame

silence("PIL")

_ORIENTATION_TAG = 0x0112
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Each scan of a progressive JPEG walks over the whole image: a small file with thousands of them
# would decode for minutes. Encoders write about ten. Inside a scan 0xFF is always followed by
# 0x00 or a restart marker, so counting the marker's bytes cannot miss one.
_SCAN_MARKER = b"\xff\xda"
_MAX_SCANS = 50
_MAX_SCANNED = 1_000_000_000  # pixels, all scans together: a second
# Pillow goes from chunk to chunk and from marker to marker in Python, with one read for each at
# least: a file of nothing else would take a minute. One of 100 MB in pieces of 8 KB needs 50,000.
_MAX_READS = 200_000


class _MeteredStream(BytesIO):
    """Bytes that may be read only so many times."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._left = _MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise UnreadableImage("The file has too many parts.")
        return super().read(size)


def read_raster(body: bytes, kind: Literal["PNG", "JPEG"], limits: Limits) -> Plane:
    """Decode a PNG or a JPEG to greyscale.

    Greyscale of 8 bits or less keeps its values (maxval 255; fewer bits are spread over
    0..255), greyscale of 16 bits too (maxval 65535). Colour and alpha are read with 8 bits a
    channel; alpha is composited over black. Colour profiles and gamma are ignored.
    Raises UnreadableImage or TooManyPixels; Pillow's own exceptions pass through.
    """
    frame = png_frame(body) if kind == "PNG" else jpeg_frame(body)
    limits.check(frame.width, frame.height, sample_bytes=_sample_bytes(frame))
    if kind == "JPEG":
        _check_scans(body, frame)
    with Image.open(_MeteredStream(body), formats=[kind]) as image:
        # A second header in the file may say otherwise than the one that was checked.
        if image.size != (frame.width, frame.height):
            raise UnreadableImage(f"The {kind} file contradicts itself about its size.")
        if kind == "PNG" and getattr(image, "is_animated", False):
            raise UnreadableImage("The PNG file is animated; send a single image.")
        if "transparency" in image.info:  # it is laid over black with four channels
            limits.check(frame.width, frame.height, sample_bytes=4)
        image.load()
        plane = _grey(image)
        if kind == "JPEG" or "exif" in image.info:
            plane = _oriented(plane, image)
    return plane


def _check_scans(body: bytes, frame: Frame) -> None:
    scans = body.count(_SCAN_MARKER)
    if scans > _MAX_SCANS or scans * frame.width * frame.height > _MAX_SCANNED:
        raise UnreadableImage("The JPEG file has too many scans.")


def check_parts(stream: bytes) -> None:
    """Raise UnreadableImage for a JPEG of endless parts, before another library opens it."""
    with Image.open(_MeteredStream(stream), formats=["JPEG"]):
        pass


def _sample_bytes(frame: Frame) -> int:
    return frame.components * max(1, frame.precision // 8)


def _grey(image: Image.Image) -> Plane:
    """Convert whatever mode Pillow chose to greyscale."""
    if image.mode.startswith("I"):
        return _deep_grey(image)
    steps: list[Step] = []
    if image.mode in {"P", "PA"}:
        steps.append(Step.PALETTE)
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif "transparency" in image.info:
        image = image.convert("LA" if image.mode in {"1", "L"} else "RGBA")
    if image.mode in {"LA", "RGBA"}:
        image, composited = _flatten(image)
        steps += [Step.ALPHA] * composited
    if image.mode not in {"1", "L"}:
        image = image if image.mode == "RGB" else image.convert("RGB")
        first, *others = (image.getchannel(i).tobytes() for i in range(3))
        steps += [Step.LUMA] * any(other != first for other in others)
    # Pillow weighs the channels as `plane.luma` does; equal channels convert to themselves.
    return Plane(np.asarray(image.convert("L"), dtype=np.uint8), 255, tuple(steps))


def _deep_grey(image: Image.Image) -> Plane:
    """Read 16-bit greyscale; a value that is named transparent becomes black."""
    pixels = np.asarray(image).astype(np.uint16)
    transparent = image.info.get("transparency")
    hit = pixels == transparent if isinstance(transparent, int) else None
    if hit is None or not hit.any():
        return Plane(pixels, 65535)
    pixels[hit] = 0
    return Plane(pixels, 65535, (Step.ALPHA,))


def _flatten(image: Image.Image) -> tuple[Image.Image, bool]:
    """Composite over black, the colour of a radiograph's surround; tell whether it mattered."""
    alpha = image.getchannel("A")
    solid = image.convert("L" if image.mode == "LA" else "RGB")
    if alpha.getextrema() == (255, 255):
        return solid, False
    return Image.composite(solid, Image.new(solid.mode, solid.size), alpha), True


def _oriented(plane: Plane, image: Image.Image) -> Plane:
    """Turn the image as its EXIF orientation says; unreadable EXIF says nothing."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
        method = _ORIENTATIONS.get(int(orientation))
    except Exception:  # noqa: BLE001 - EXIF breaks in countless ways, none of which harms the pixels
        method = None
    if method is None:
        return plane
    turned = np.asarray(Image.fromarray(plane.pixels).transpose(method))
    return Plane(turned, plane.maxval, (*plane.steps, Step.EXIF_ORIENTATION))
