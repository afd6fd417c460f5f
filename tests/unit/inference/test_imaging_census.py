"""Every file that pydicom and pydicom-data ship, against a table that a human has read.

`dicom_census.tsv`: file, `image` or the error's code, size and steps or the error's detail.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array

from chalicelib.errors import RadgateError
from chalicelib.inference.imaging import ImageDecoder
from tests.unit.inference.dicom_files import every_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from chalicelib.domain import Radiograph

FILES = every_file()
CENSUS = {
    name: (outcome, words)
    for name, outcome, words in (
        line.split("\t")
        for line in (Path(__file__).parent / "dicom_census.tsv").read_text("utf-8").splitlines()
    )
}
IMAGES = [name for name, (outcome, _) in CENSUS.items() if outcome == "image"]
# pydicom decodes no 12-bit JPEG and reads big-endian palettes as little-endian; these files are
# compared with their twins in test_imaging_dicom.py instead.
BEYOND_PYDICOM = {
    "pydicom/test_files/JPEG-lossy.dcm",
    "pydicom/test_files/JPGExtended.dcm",
    "pydicom-data/OBXXXX1A_expb.dcm",
}
YCBCR = re.compile("JPEG (Baseline|2000)")
DECODER = ImageDecoder()


def test_the_table_names_every_file_and_counts_what_we_say() -> None:
    assert set(CENSUS) == set(FILES)
    assert Counter(outcome for outcome, _ in CENSUS.values()) == {
        "image": 138,
        "unreadable_image": 121,
        "unsupported_media_type": 14,
    }


@pytest.mark.parametrize("name", CENSUS)
def test_each_file_decodes_or_is_refused_as_the_table_says(name: str) -> None:
    try:
        info = DECODER.decode(FILES[name].read_bytes()).info
        words = f"{info.width} x {info.height}, {'+'.join(info.steps) or 'as stored'}"
        answer = ("image", words)
    except RadgateError as error:
        answer = (error.code, error.detail)

    assert answer == CENSUS[name]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in IMAGES if name not in BEYOND_PYDICOM])
def test_pixels_agree_with_pydicoms_own_pipeline(
    name: str, array: Callable[[Radiograph], NDArray[np.int64]]
) -> None:
    ours = array(DECODER.decode(FILES[name].read_bytes()))

    dataset = pydicom.dcmread(FILES[name], force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    expected, most, mean = reference(dataset)

    difference = np.abs(ours - expected)
    assert difference.max() <= most
    assert difference.mean() <= mean


def reference(dataset: Dataset) -> tuple[NDArray[np.float64], float, float]:
    """Grey in 0..65535 by pydicom's functions; how far ours may be at most and on average."""
    samples = pixel_array(dataset, index=0)
    photometric = dataset.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        samples = apply_color_lut(samples, dataset)
    if samples.ndim == 3:
        grey = samples @ [0.299, 0.587, 0.114] / (2.0 ** (8 * samples.dtype.itemsize) - 1) * 65535
        # Half of one of 255 levels by rounding; where YCbCr goes through RGB, more: colours
        # beyond RGB's gamut are clipped on pydicom's way and not on ours.
        return (
            (grey, 3000, 250)
            if YCBCR.search(repr(dataset.file_meta)) or (photometric.startswith("YBR"))
            else (grey, 140, 90)
        )
    values = apply_modality_lut(samples, dataset).astype(float)
    low, high = stored_range(dataset)
    if "ModalityLUTSequence" in dataset:
        low, high = 0, 2.0 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    elif "RescaleSlope" in dataset:
        slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
        low, high = low * slope + intercept, high * slope + intercept
    if "VOILUTSequence" in dataset:
        values = apply_voi_lut(values.astype(int), dataset, index=0).astype(float)
        low, high = 0, 2.0 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif "WindowWidth" in dataset:
        values = apply_voi_lut(values, dataset, index=0)
    elif dataset.BitsStored > 8 and "ModalityLUTSequence" not in dataset:
        low, high = values.min(), values.max()
    grey = (values - low) / (high - low) * 65535
    return 65535 - grey if photometric == "MONOCHROME1" else grey, 1.0, 0.5


def stored_range(dataset: Dataset) -> tuple[float, float]:
    half = 2.0 ** (dataset.BitsStored - 1)
    return (-half, half - 1) if dataset.PixelRepresentation == 1 else (0, 2 * half - 1)
