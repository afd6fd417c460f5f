"""Real chests as the gate gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chalicelib.domain import ImageInfo, Radiograph
from chalicelib.inference.imaging import ImageDecoder
from tests.unit.inference.dicom_files import read

if TYPE_CHECKING:
    from numpy.typing import NDArray


def radiograph(pixels: NDArray[np.integer], maxval: int = 255) -> Radiograph:
    """Wrap grey values (H, W) as the decoder would."""
    height, width = pixels.shape
    info = ImageInfo(format="PNG", width=width, height=height, sha256="0" * 64)
    kind = np.uint8 if maxval <= 255 else np.dtype("<u2")
    return Radiograph(info, np.ascontiguousarray(pixels).astype(kind).tobytes(), maxval)


def chest(name: str = "RG1_J2KI.dcm") -> NDArray[np.uint16]:
    """Return the pixels of one of pydicom's radiographs."""
    decoded = ImageDecoder().decode(read(name))
    return np.frombuffer(decoded.pixels, "<u2").reshape(decoded.info.height, -1)
