from __future__ import annotations

import hashlib
import struct
import zlib
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from chalicelib.errors import UnreadableImage, UnsupportedMediaType
from chalicelib.inference.imaging import ImageDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from chalicelib.domain import Radiograph

    Encode = Callable[..., bytes]
    Array = Callable[[Radiograph], NDArray[np.int64]]

DECODER = ImageDecoder()


def ramp(rows: int = 16, columns: int = 16, *, deep: bool = False) -> NDArray[np.integer]:
    top = 65536 if deep else 256
    values = (np.arange(rows * columns) * 257) % top
    return values.reshape(rows, columns).astype(np.uint16 if deep else np.uint8)


def test_eight_bit_png_keeps_every_value(encode: Encode, array: Array) -> None:
    picture = ramp()
    body = encode(picture)

    radiograph = DECODER.decode(body)

    assert radiograph.maxval == 255
    assert np.array_equal(array(radiograph), picture)
    assert radiograph.info.sha256 == hashlib.sha256(body).hexdigest()
    assert radiograph.info.format == "PNG"
    assert radiograph.info.steps == ()


def test_sixteen_bit_png_keeps_every_value(encode: Encode, array: Array) -> None:
    picture = ramp(256, 256, deep=True)

    radiograph = DECODER.decode(encode(picture))

    assert radiograph.maxval == 65535
    assert np.array_equal(array(radiograph), picture)


def test_one_bit_png_becomes_black_and_white(encode: Encode, array: Array) -> None:
    picture = Image.fromarray((ramp() > 100).astype(np.uint8) * 255).convert("1")

    assert np.array_equal(array(DECODER.decode(encode(picture))), np.asarray(picture) * 255)


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits_spread_over_the_whole_range(bits: int, array: Array) -> None:
    levels = np.arange(2**bits, dtype=np.uint8)
    packed = bytes(
        sum(int(v) << (8 - bits * (i + 1)) for i, v in enumerate(group))
        for group in levels.reshape(-1, 8 // bits)
    )
    body = png(len(levels), 1, bits, 0, b"\0" + packed)

    assert array(DECODER.decode(body)).tolist() == [[int(v) * 255 // (2**bits - 1) for v in levels]]


def test_interlaced_png_reads_as_the_plain_one(array: Array) -> None:
    # Adam7 of an 8 x 8 image: the seven passes, each row with its filter byte.
    picture = ramp(8, 8)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    rows = [picture[y::h, x::w] for y, x, h, w in passes] + [picture[1::2]]
    body = png(8, 8, 8, 0, b"".join(b"\0" + r.tobytes() for p in rows for r in p), interlace=1)

    assert np.array_equal(array(DECODER.decode(body)), picture)


def test_rgb_of_equal_channels_is_exact_and_takes_no_step(encode: Encode, array: Array) -> None:
    picture = ramp()

    radiograph = DECODER.decode(encode(np.stack([picture] * 3, axis=-1)))

    assert np.array_equal(array(radiograph), picture)
    assert radiograph.info.steps == ()


def test_colour_becomes_luma(encode: Encode, array: Array) -> None:
    red_green_blue = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)

    radiograph = DECODER.decode(encode(red_green_blue))

    assert array(radiograph).tolist() == [[76, 150, 29]]
    assert radiograph.info.steps == ("luma",)


def test_palette_png_takes_its_colours(encode: Encode, array: Array) -> None:
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    picture.putpalette([10, 10, 10, 200, 200, 200, 90, 90, 90])

    radiograph = DECODER.decode(encode(picture))

    assert array(radiograph).tolist() == [[10, 200, 90]]
    assert radiograph.info.steps == ("palette",)


def test_alpha_is_composited_over_black(encode: Encode, array: Array) -> None:
    picture = np.array([[[200, 255], [200, 0], [200, 51]]], np.uint8)

    radiograph = DECODER.decode(encode(Image.fromarray(picture, "LA")))

    assert array(radiograph).tolist() == [[200, 0, 40]]
    assert radiograph.info.steps == ("alpha",)


def test_opaque_alpha_changes_nothing(encode: Encode, array: Array) -> None:
    picture = ramp()
    with_alpha = np.stack([picture, np.full_like(picture, 255)], axis=-1)

    radiograph = DECODER.decode(encode(Image.fromarray(with_alpha, "LA")))

    assert np.array_equal(array(radiograph), picture)
    assert radiograph.info.steps == ()


def test_a_transparent_sixteen_bit_value_becomes_black(array: Array) -> None:
    pixels = struct.pack(">3H", 500, 40000, 500)
    body = png(3, 1, 16, 0, b"\0" + pixels, (b"tRNS", struct.pack(">H", 500)))

    radiograph = DECODER.decode(body)

    assert array(radiograph).tolist() == [[0, 40000, 0]]
    assert radiograph.info.steps == ("alpha",)


@pytest.mark.parametrize("progressive", [False, True])
def test_grey_jpeg_gives_the_codecs_own_values(
    encode: Encode, array: Array, *, progressive: bool
) -> None:
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    body = encode(smooth, "JPEG", quality=90, progressive=progressive)

    radiograph = DECODER.decode(body)

    with Image.open(BytesIO(body)) as image:
        assert np.array_equal(array(radiograph), np.asarray(image))
    assert np.abs(array(radiograph) - smooth).max() < 8
    assert (radiograph.info.format, radiograph.maxval) == ("JPEG", 255)


def test_cmyk_jpeg_comes_out_the_right_way_round(encode: Encode, array: Array) -> None:
    left_dark = np.full((32, 32, 3), 230, np.uint8)
    left_dark[:, :16] = 20
    body = encode(Image.fromarray(left_dark).convert("CMYK"), "JPEG", quality=95)

    pixels = array(DECODER.decode(body))

    assert pixels[:, :12].max() < 60
    assert pixels[:, 20:].min() > 190


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(encode: Encode, array: Array, orientation: int) -> None:
    upright = np.full((24, 40), 30, np.uint8)
    upright[:8, :8] = 220  # a bright corner, top left when upright
    forward = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = Image.fromarray(upright)
    if orientation in forward:
        stored = stored.transpose(Image.Transpose(forward[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation

    radiograph = DECODER.decode(encode(stored, "JPEG", quality=95, exif=exif))

    pixels = array(radiograph)
    assert pixels.shape == (24, 40)
    assert pixels[:7, :7].min() > 180
    assert pixels[:, 12:].max() < 80
    assert ("exif_orientation" in radiograph.info.steps) == (orientation > 1)


def test_broken_exif_does_not_refuse_the_image(encode: Encode) -> None:
    body = encode(ramp(), "JPEG", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff")

    assert DECODER.decode(body).info.steps == ()


@pytest.mark.parametrize(
    "name", ["samples/00000001_000.png", "samples/h0001.png", "samples/16747_3_1.jpg"]
)
def test_real_radiographs_keep_their_values(
    sample: Callable[[str], bytes], array: Array, name: str
) -> None:
    body = sample(name)

    radiograph = DECODER.decode(body)

    with Image.open(BytesIO(body)) as image:
        expected = np.asarray(image.convert("RGB"))[..., 0]
    assert np.array_equal(array(radiograph), expected)
    assert radiograph.maxval == 255


def test_the_bytes_decide_the_format() -> None:
    with pytest.raises(UnsupportedMediaType):
        DECODER.decode(b"")
    with pytest.raises(UnsupportedMediaType):
        DECODER.decode(b"GIF89a" + bytes(500))
    with pytest.raises(UnsupportedMediaType):
        DECODER.decode(b"%PDF-1.7\n" + b"0 obj\n" * 100)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(encode: Encode, kind: str, share: float) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (64, 64), dtype=np.uint8)
    body = encode(noise, kind)

    with pytest.raises(UnreadableImage):
        DECODER.decode(body[: int(len(body) * share)])


def test_an_animated_png_is_refused(encode: Encode) -> None:
    frames = [Image.fromarray(ramp()), Image.fromarray(ramp()[::-1].copy())]
    body = encode(frames[0], "PNG", save_all=True, append_images=frames[1:])

    with pytest.raises(UnreadableImage, match="animated"):
        DECODER.decode(body)


def png(
    width: int,
    height: int,
    bits: int,
    colour: int,
    rows: bytes,
    *extra: tuple[bytes, bytes],
    interlace: int = 0,
) -> bytes:
    """Write a PNG chunk by chunk, for what Pillow does not write."""
    header = struct.pack(">LLBBBBB", width, height, bits, colour, 0, 0, interlace)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))
        for name, data in chunks
    )
