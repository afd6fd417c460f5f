"""One frame of DICOM pixel data to samples: which codec decodes what, and its claims checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from openjpeg.utils import decode as decode_jpeg_2000
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

from chalicelib.errors import UnreadableImage
from chalicelib.inference.decoding.isolated import decode_with_gdcm
from chalicelib.inference.decoding.j2k_parts import check_j2k_parts
from chalicelib.inference.decoding.raster import check_parts
from chalicelib.inference.decoding.rle import decode_rle
from chalicelib.inference.decoding.sniff import J2K_START, j2k_frame, jpeg_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chalicelib.inference.decoding.dicom_header import Header

# Which library decodes what is fixed, so that an image gives the same values everywhere.
# Pillow decodes 8-bit JPEG, OpenJPEG JPEG 2000, GDCM in a process of its own the rest.
_JPEG = frozenset({uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit})
_GDCM = frozenset(
    {uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEGLSNearLossless}
)
_J2K = frozenset({uid.JPEG2000Lossless, uid.JPEG2000})
_NATIVE = frozenset(
    {uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian}
)
# Syntaxes whose codec settles the sign and the unused bits of a sample.
SETTLED = _JPEG | _GDCM | _J2K
_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_MAX_FRAGMENTS = 10_000


def decode_samples(header: Header) -> tuple[NDArray[Any], str]:
    """Decompress to (H, W) or (H, W, 3), and say in which colour space they came out.

    8 or 16 bits a sample, signed where the syntax is in SETTLED and the header says so. Raises
    UnreadableImage; the codecs' own exceptions pass through.
    """
    if header.syntax in _J2K:
        return _jpeg_2000(header)
    if header.syntax == uid.RLELossless:
        return _run_lengths(header), header.photometric
    if header.syntax in _GDCM or (header.syntax in _JPEG and header.stored > 8):  # noqa: PLR2004
        return _other_jpeg(header), header.photometric
    native = header.syntax in _NATIVE
    if not native and header.syntax not in _JPEG:
        raise UnreadableImage("The transfer syntax of the DICOM image is not supported.")
    if native and len(header.data) < _native_bytes(header):
        raise UnreadableImage("The pixel data of the DICOM image is truncated.")
    data = header.data
    if not native:
        stream = _codestream(header)
        check_parts(stream)
        data = encapsulate([stream], has_bot=False)
    array, found = get_decoder(header.syntax).as_array(
        data,
        index=0,
        raw=True,
        decoding_plugin="" if native else "pillow",
        **_options(header, settle=not native),
    )
    # Big-endian files come out in their own byte order; everything after this takes bit patterns.
    native_order = array.astype(array.dtype.newbyteorder("="), copy=False)
    return native_order, str(found["photometric_interpretation"])


def _options(header: Header, *, settle: bool) -> dict[str, Any]:
    """Name to pydicom what we checked; it never sees the header itself."""
    return {
        "correct_unused_bits": settle,
        "rows": header.rows,
        "columns": header.columns,
        "number_of_frames": 1,
        "samples_per_pixel": header.samples,
        "photometric_interpretation": header.photometric,
        "planar_configuration": header.planar,
        "bits_allocated": header.allocated,
        "bits_stored": header.stored,
        "pixel_representation": int(header.signed),
        "pixel_keyword": "PixelData",
        "pixel_vr": header.vr,
    }


def _jpeg_2000(header: Header) -> tuple[NDArray[Any], str]:
    """Decode JPEG 2000; its own colour transform is undone by the codec."""
    if header.photometric == "YBR_FULL_422":
        raise UnreadableImage("JPEG 2000 with shared chroma is not supported.")
    stream = _codestream(header)
    precision = j2k_frame(stream).precision
    if precision > 16:  # noqa: PLR2004
        raise UnreadableImage(f"JPEG 2000 of {precision} bits a sample is not supported.")
    check_j2k_parts(stream)
    samples: NDArray[Any] = decode_jpeg_2000(stream, j2k_format=0)
    if samples.dtype.kind != ("i" if header.signed else "u"):
        # The codestream and the header disagree about the sign, and the header is right.
        samples = _with_sign(samples, precision, signed=header.signed)
    colour = "RGB" if header.photometric in {"YBR_ICT", "YBR_RCT"} else header.photometric
    return samples, colour


def _native_bytes(header: Header) -> int:
    """Return how many bytes the uncompressed image needs; YBR_FULL_422 shares its chroma."""
    samples = 2 if header.photometric == "YBR_FULL_422" else header.samples
    return (header.rows * header.columns * samples * header.allocated + 7) // 8


def _with_sign(samples: NDArray[Any], precision: int, *, signed: bool) -> NDArray[Any]:
    """Read the low `precision` bits of each sample as signed or as unsigned.

    The highest coded bit is moved to the top, the type changed, and the bit moved back.
    """
    spare = 8 * samples.dtype.itemsize - precision
    kind = f"{'i' if signed else 'u'}{samples.dtype.itemsize}"
    moved: NDArray[Any] = (samples << spare).view(kind) >> spare
    return moved


def _other_jpeg(header: Header) -> NDArray[Any]:
    """Decode lossless JPEG, JPEG-LS, or lossy JPEG of 12 bits; all code unsigned samples."""
    stream = _codestream(header)
    precision = jpeg_frame(stream).precision
    if precision > header.allocated:
        raise UnreadableImage("The compressed pixel data contradicts the header about its depth.")
    allocated = 8 if precision <= 8 else 16  # noqa: PLR2004
    decoded = decode_with_gdcm(
        stream,
        syntax=str(header.syntax),
        photometric=header.photometric,
        shape=(header.rows, header.columns, header.samples),
        bits=(allocated, precision),
    )
    if len(decoded) != header.rows * header.columns * header.samples * allocated // 8:
        raise UnreadableImage("The compressed pixel data is damaged.")
    samples = np.frombuffer(decoded, "u1" if allocated == 8 else "<u2")  # noqa: PLR2004
    if header.signed:
        samples = _with_sign(samples, min(precision, header.stored), signed=True)
    shape = (header.rows, header.columns, header.samples)
    return samples.reshape(shape if header.samples > 1 else shape[:2])


def _codestream(header: Header) -> bytes:
    """Join the fragments of the one frame, and check the size that the codestream claims.

    Its claim, not the header's, is what a codec allocates by.
    """
    fragments: list[bytes] = []
    data, at = header.data, 0
    while data[at : at + 4] == _ITEM and len(fragments) <= _MAX_FRAGMENTS:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        fragments.append(data[at + 8 : at + 8 + length])
        at += 8 + length
    if len(fragments) < 2 or data[at : at + 4] not in {_DELIMITER, b""}:  # noqa: PLR2004
        raise UnreadableImage("The compressed pixel data is not in fragments as it should be.")
    stream = b"".join(fragments[1:])  # the first is the offset table
    if header.syntax == uid.RLELossless:
        return stream
    if header.syntax in _J2K:
        # Some writers wrap the codestream as a JP2 file, which DICOM forbids: unwrap it.
        stream = stream[max(0, stream.find(J2K_START)) :]
    frame = j2k_frame(stream) if header.syntax in _J2K else jpeg_frame(stream)
    if (frame.width, frame.height, frame.components) != (
        header.columns,
        header.rows,
        header.samples,
    ):
        raise UnreadableImage("The compressed pixel data contradicts the header about its size.")
    return stream


def _run_lengths(header: Header) -> NDArray[Any]:
    """Decode run lengths: one byte plane for each byte of each sample."""
    width = header.allocated // 8
    if width == 0:
        raise UnreadableImage("Run-length coding of single bits is not supported.")
    pixels = header.rows * header.columns
    planes = decode_rle(_codestream(header), header.samples * width, pixels)
    out = np.zeros((pixels, header.samples), np.dtype(f"u{width}"))
    for number, plane in enumerate(planes):
        sample, place = divmod(number, width)
        shifted = np.frombuffer(plane, np.uint8).astype(out.dtype) << (8 * (width - 1 - place))
        out[:, sample] |= shifted
    shape = (header.rows, header.columns, header.samples)
    return out.reshape(shape) if header.samples > 1 else out.reshape(shape[:2])
