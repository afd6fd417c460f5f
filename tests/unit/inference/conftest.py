from __future__ import annotations

import gc
import os
import resource
import time
import tracemalloc
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from chalicelib.domain import Radiograph


@pytest.fixture
def sample() -> Callable[[str], bytes]:
    """Real radiographs that may not be committed; `RADGATE_SHARED_DATA` moves their folder."""
    beside = Path(__file__).parents[4] / "shared" / "data"
    root = Path(os.environ.get("RADGATE_SHARED_DATA", beside))

    def read(name: str) -> bytes:
        path = root / name
        if not path.is_file():
            pytest.skip(f"needs the sample {name}, which is not part of the repository")
        return path.read_bytes()

    return read


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """Write a picture with Pillow, as a client would."""

    def write(
        picture: Image.Image | NDArray[np.generic], kind: str = "PNG", **options: object
    ) -> bytes:
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        buffer = BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return write


@pytest.fixture
def array() -> Callable[[Radiograph], NDArray[np.int64]]:
    """Pixels as the domain promises them: row-major, two bytes little-endian above 255."""

    def read(radiograph: Radiograph) -> NDArray[np.int64]:
        flat = np.frombuffer(radiograph.pixels, "<u2" if radiograph.maxval > 255 else np.uint8)
        return flat.reshape(radiograph.info.height, radiograph.info.width).astype(np.int64)

    return read


@pytest.fixture
def frugal() -> Iterator[None]:
    """Fail when the test allocates more than 64 MB in Python or takes two seconds of CPU."""
    gc.collect()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    begun = time.process_time()
    yield
    spent = time.process_time() - begun
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64e6
    assert spent < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident < 100_000  # KB
