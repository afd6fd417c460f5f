from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from chalicelib.domain import Quality, Radiograph
from chalicelib.errors import UnreadableImage
from chalicelib.inference.imaging import ImageDecoder
from tests.unit.inference.dicom_files import read
from tests.unit.inference.dicom_writer import (
    dicom,
    element,
    fragments,
    lut_sequence,
    short,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = Callable[[Radiograph], NDArray[np.int64]]

DECODER = ImageDecoder()


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}H", *(value & 0xFFFF for value in values))


def window(centre: str, width: str) -> bytes:
    return text(0x0028, 0x1050, b"DS", centre) + text(0x0028, 0x1051, b"DS", width)


def rescale(slope: str, intercept: str) -> bytes:
    return text(0x0028, 0x1052, b"DS", intercept) + text(0x0028, 0x1053, b"DS", slope)


# --- the order of the pipeline ------------------------------------------------------------


def test_the_order_is_modality_then_voi_then_range_then_inversion(array: Array) -> None:
    # Stored 0..3 -> modality LUT 30, 20, 10, 0 -> VOI LUT of 31 entries, i -> i * 100 of 12 bits
    # -> 0..4095 -> inverted. Any other order gives other numbers.
    body = dicom(
        words(0, 1, 2, 3),
        1,
        4,
        lut_sequence(0x0028, 0x3000, (4, 0, 16), [30, 20, 10, 0]),
        lut_sequence(0x0028, 0x3010, (31, 0, 12), [i * 100 for i in range(31)]),
        photometric="MONOCHROME1",
    )

    radiograph = DECODER.decode(body)

    expected = [65535 - round(v / 4095 * 65535) for v in (3000, 2000, 1000, 0)]
    assert array(radiograph).tolist() == [expected]
    assert radiograph.info.steps == ("modality_lut", "voi_lut", "invert")
    assert radiograph.maxval == 65535


def test_a_voi_lut_goes_before_a_window_and_the_first_window_counts(array: Array) -> None:
    lut = lut_sequence(0x0028, 0x3010, (3, 0, 8), [0, 255, 0])
    with_both = dicom(words(0, 1, 2), 1, 3, window("50", "100"), lut)
    with_windows = dicom(words(0, 500, 1000), 1, 3, window("500.5\\1", "1001\\2"))

    assert array(DECODER.decode(with_both)).tolist() == [[0, 65535, 0]]
    assert array(DECODER.decode(with_windows)).tolist() == [[0, 32768, 65535]]
    assert DECODER.decode(with_windows).info.steps == ("voi_lut",)


def test_slope_and_intercept_come_before_the_window(array: Array) -> None:
    body = dicom(words(0, 1024, 2048), 1, 3, rescale("2", "-1024"), window("1024.5", "2049"))

    # -1024 lies below the window, 1024 in its middle, 3072 above.
    assert array(DECODER.decode(body)).tolist() == [[0, 32768, 65535]]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("LINEAR", [0, 0, 33098, 65535]),
        ("LINEAR_EXACT", [0, 0, 32768, 65535]),
        ("SIGMOID", [1179, 7278, 32768, 64356]),
    ],
)
def test_the_three_window_functions(array: Array, function: str, expected: list[int]) -> None:
    body = dicom(
        words(0, 48, 100, 200), 1, 4, window("100", "100"), text(0x28, 0x1056, b"CS", function)
    )

    assert array(DECODER.decode(body)).tolist()[0] == pytest.approx(expected, abs=1)


def test_without_any_window_eight_bits_keep_their_range(array: Array) -> None:
    radiograph = DECODER.decode(dicom(bytes([0, 10, 200, 100]), 1, 4, bits=(8, 8, 7)))

    assert array(radiograph).tolist() == [[0, 2570, 51400, 25700]]
    assert radiograph.info.steps == ()


def test_without_any_window_deep_samples_are_stretched_and_padding_is_left_aside(
    array: Array,
) -> None:
    padded = element(0x0028, 0x0120, b"US", words(0))
    body = dicom(words(0, 1000, 2000, 3000), 1, 4, padded, bits=(16, 12, 11))

    radiograph = DECODER.decode(body)

    assert array(radiograph).tolist() == [[0, 0, 32768, 65535]]
    assert radiograph.info.steps == ("min_max",)


@pytest.mark.parametrize("width", ["0", "-5", "nan", "1e999", "", "wide"])
def test_a_window_without_meaning_counts_as_none(array: Array, width: str) -> None:
    body = dicom(words(100, 200), 1, 2, window("100", width))

    assert array(DECODER.decode(body)).tolist() == [[0, 65535]]
    assert DECODER.decode(body).info.steps == ("min_max",)


# --- samples ------------------------------------------------------------------------------


def test_unused_bits_and_the_sign_are_read_as_the_header_says(array: Array) -> None:
    # 12 bits stored, signed; the upper four hold an overlay that must not count.
    pixels = words(0xF000 | 0x800, 0x5000 | 0xFFF, 0x3000, 0x7FF)
    body = dicom(pixels, 1, 4, window("0.5", "4096"), bits=(16, 12, 11), signed=True)

    assert array(DECODER.decode(body)).tolist()[0] == pytest.approx([0, 32759, 32775, 65535], abs=9)


def test_samples_may_sit_high_in_their_word(array: Array) -> None:
    body = dicom(words(0, 2048 << 4, 4095 << 4), 1, 3, window("2048", "4096"), bits=(16, 12, 15))

    assert array(DECODER.decode(body)).tolist()[0] == pytest.approx([0, 32775, 65535], abs=9)


def test_single_bits_become_black_and_white(array: Array) -> None:
    body = dicom(bytes([0b00000101, 0]), 1, 8, bits=(1, 1, 0))

    assert array(DECODER.decode(body)).tolist() == [[65535, 0, 65535, 0, 0, 0, 0, 0]]


def test_equal_rgb_channels_convert_exactly(array: Array) -> None:
    body = dicom(
        bytes([7, 7, 7, 250, 250, 250]), 1, 2, bits=(8, 8, 7), samples=3, photometric="RGB"
    )

    assert array(DECODER.decode(body)).tolist() == [[7 * 257, 250 * 257]]
    assert DECODER.decode(body).info.steps == ()


def test_a_file_without_preamble_is_read(array: Array) -> None:
    body = dicom(bytes([1, 2]), 1, 2, bits=(8, 8, 7), preamble=False)

    assert array(DECODER.decode(body)).tolist() == [[257, 514]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bits": (32, 32, 31)}, "32 bits"),
        ({"bits": (16, 17, 16)}, "contradict"),
        ({"photometric": "CIELAB"}, "photometric"),
        ({"photometric": "RGB"}, "photometric"),
        ({"photometric": "PALETTE COLOR"}, "look-up table"),
        ({"syntax": "1.2.840.10008.1.2.4.100"}, "transfer syntax"),
        ({"rows": 0}, "no pixels"),
        ({"rows": 3}, "truncated"),
    ],
)
def test_what_is_refused_says_why(change: dict[str, object], says: str) -> None:
    fields: dict[str, object] = {"rows": 2, "columns": 2, **change}

    with pytest.raises(UnreadableImage, match=says):
        DECODER.decode(dicom(bytes(8), **fields))  # type: ignore[arg-type]


def test_more_than_one_frame_is_refused_and_one_is_not() -> None:
    one = dicom(bytes(8), 2, 2, text(0x0028, 0x0008, b"IS", "1"))
    two = dicom(bytes(16), 2, 2, text(0x0028, 0x0008, b"IS", "2"))

    assert DECODER.decode(one).info.width == 2
    with pytest.raises(UnreadableImage, match="2 frames"):
        DECODER.decode(two)


def test_a_codestream_in_several_fragments_is_joined(
    encode: Callable[..., bytes], array: Array
) -> None:
    picture = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8)
    stream = encode(picture, "JPEG", quality=95)
    body = dicom(
        fragments(stream[:100], stream[100:300], stream[300:]),
        32,
        32,
        bits=(8, 8, 7),
        syntax="1.2.840.10008.1.2.4.50",
        encapsulated=True,
    )

    assert np.abs(array(DECODER.decode(body)) / 257 - picture).max() < 6


def test_a_broken_look_up_table_is_refused() -> None:
    short_data = lut_sequence(0x0028, 0x3010, (500, 0, 16), [1, 2, 3])
    no_depth = lut_sequence(0x0028, 0x3010, (3, 0, 0), [1, 2, 3])

    for lut, says in [(short_data, "too short"), (no_depth, "depth")]:
        with pytest.raises(UnreadableImage, match=says):
            DECODER.decode(dicom(bytes(8), 2, 2, lut))


def test_a_segmented_palette_cannot_grow_beyond_its_descriptor(array: Array) -> None:
    # One value, a ramp of 255, then an indirection that repeats them 60,000 times.
    segments = words(0, 1, 0, 1, 255, 65535, 2, 60000, 0, 0)
    elements = [short(0x28, number, 512, 0, 16) for number in (0x1101, 0x1102, 0x1103)]
    elements += [element(0x28, number, b"OW", segments) for number in (0x1221, 0x1222, 0x1223)]
    body = dicom(bytes([0, 255]), 1, 2, *elements, bits=(8, 8, 7), photometric="PALETTE COLOR")

    assert array(DECODER.decode(body)).tolist() == [[0, 65535]]


# --- encodings of one image ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("RG1_J2KR.dcm", "RG1_UNCR.dcm"),
        ("RG1_J2KI.dcm", "RG1_UNCI.dcm"),
        ("RG3_J2KR.dcm", "RG3_UNCR.dcm"),
        ("MR2_J2KR.dcm", "MR2_UNCR.dcm"),
        ("693_J2KR.dcm", "693_UNCR.dcm"),
        ("US1_J2KR.dcm", "US1_UNCR.dcm"),
        ("OBXXXX1A.dcm", "OBXXXX1A_expb.dcm"),
        ("OBXXXX1A.dcm", "OBXXXX1A_rle.dcm"),
        ("gdcm-US-ALOKA-16.dcm", "gdcm-US-ALOKA-16_big.dcm"),
        ("MR_small.dcm", "MR_small_bigendian.dcm"),
        ("MR_small.dcm", "MR_small_RLE.dcm"),
        ("MR_small.dcm", "MR_small_jp2klossless.dcm"),
        ("MR_small.dcm", "MR_small_jpeg_ls_lossless.dcm"),
        ("SC_rgb.dcm", "SC_rgb_rle.dcm"),
        ("SC_rgb_16bit.dcm", "SC_rgb_rle_16bit.dcm"),
    ],
)
def test_lossless_encodings_give_the_same_pixels(first: str, second: str) -> None:
    one, other = DECODER.decode(read(first)), DECODER.decode(read(second))

    assert one.pixels == other.pixels
    assert one.info.steps == other.info.steps


def test_the_four_encodings_of_the_chest_agree(array: Array) -> None:
    names = ("RG1_UNCR.dcm", "RG1_J2KR.dcm", "RG1_UNCI.dcm", "RG1_J2KI.dcm")
    exact, *others = (array(DECODER.decode(read(name))) for name in names)

    assert exact.shape == (1955, 1841)
    for other in others:
        difference = np.abs(exact - other)
        assert difference.mean() < 0.005 * 65535  # JPEG 2000 at a tenth of the size
        assert np.percentile(difference, 99.9) < 0.05 * 65535


def test_twelve_bit_jpeg_agrees_with_its_lossless_twin(array: Array) -> None:
    lossy, exact = (array(DECODER.decode(read(n))) for n in ("JPGExtended.dcm", "JPEG-LL.dcm"))

    smooth = [image.reshape(256, 4, 64, 4).mean((1, 3)).ravel() for image in (lossy, exact)]
    assert np.corrcoef(*smooth)[0, 1] > 0.999


# --- a wrong MONOCHROME1 ------------------------------------------------------------------


class BrightBorderGate:
    """Finds an image inverted when its border is brighter than its middle."""

    def judge(self, radiograph: Radiograph) -> Quality:
        pixels = np.frombuffer(radiograph.pixels, "<u2").reshape(radiograph.info.height, -1)
        middle = pixels[pixels.shape[0] // 4 : -pixels.shape[0] // 4]
        if pixels[0].mean() > middle.mean():
            return Quality(accepted=False, score=0.1, reasons=("inverted",))
        return Quality(accepted=True, score=0.9)


def test_a_tag_that_the_image_contradicts_is_corrected(array: Array) -> None:
    picture = np.zeros((8, 8), np.uint8)
    picture[2:6, 2:6] = 200
    wrong = dicom(picture.tobytes(), 8, 8, bits=(8, 8, 7), photometric="MONOCHROME1")
    right = dicom((255 - picture).tobytes(), 8, 8, bits=(8, 8, 7), photometric="MONOCHROME1")

    corrected = ImageDecoder(gate=BrightBorderGate()).decode(wrong)
    believed = ImageDecoder(gate=BrightBorderGate()).decode(right)

    assert np.array_equal(array(corrected), picture.astype(int) * 257)
    assert corrected.info.steps == ("invert", "invert_corrected")
    assert np.array_equal(array(believed), picture.astype(int) * 257)
    assert believed.info.steps == ("invert",)


def test_without_a_gate_tags_are_believed(sample: Callable[[str], bytes], array: Array) -> None:
    radiograph = DECODER.decode(sample("samples/Fake_MONOHR1.dcm"))

    assert radiograph.info.steps == ("invert",)
    assert array(radiograph)[:, :40].mean() > 0.5 * 65535  # the surround came out white


@pytest.mark.parametrize("name", ["RG1_J2KI.dcm", "emri_small_jpeg_2k_lossless.dcm"])
@pytest.mark.parametrize("missing", [10, 2000])
def test_compressed_pixels_that_end_too_soon_are_said_to(name: str, missing: int) -> None:
    with pytest.raises(UnreadableImage, match="cut short"):
        DECODER.decode(read(name)[:-missing])


def test_a_whole_file_without_an_image_is_not_said_to_be_cut_short() -> None:
    with pytest.raises(UnreadableImage, match="holds no image"):
        DECODER.decode(read("rtplan.dcm"))
