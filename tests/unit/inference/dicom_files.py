"""The DICOM files that pydicom and pydicom-data ship, read from their folders, never fetched."""

from __future__ import annotations

from pathlib import Path

import data_store  # type: ignore[import-untyped]  # the module of pydicom-data
import pydicom.data

_ROOTS = {
    "pydicom": Path(pydicom.data.__file__).parent,
    "pydicom-data": Path(data_store.__file__).parent / "data",
}
_CODE = {".py", ".pyc"}


def every_file() -> dict[str, Path]:
    """Map `package/relative name` to each data file of both packages."""
    return {
        f"{package}/{path.relative_to(root).as_posix()}": path
        for package, root in _ROOTS.items()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix not in _CODE
    }


def read(name: str) -> bytes:
    """Return a file of pydicom-data, or of pydicom's test files, by its bare name."""
    bundled = _ROOTS["pydicom-data"] / name
    return (bundled if bundled.is_file() else _ROOTS["pydicom"] / "test_files" / name).read_bytes()
