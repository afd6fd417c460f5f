"""The code of local functions, unpacked once instead of in every process.

MiniStack unpacks the zip anew for each process of a function: with our packages 74 MB, each time.
Here all processes with the same code share one folder of it, and what bytecode they write there
for modules that came without. Patches ``ministack==1.5.33``;
`tests/integration/test_emulator.py` holds it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

CACHE = Path(__file__).resolve().parents[2] / ".local" / "cache" / "functions"
KEPT_SECONDS = 7 * 86_400  # since the last process was started from it


def share_code(runtime: Any, cache: Path = CACHE) -> None:  # noqa: ANN401 - an untyped module
    """Let `runtime`, MiniStack's ``lambda_runtime``, take functions' code from `cache`."""

    class SharedZip(zipfile.ZipFile):
        def extractall(self, path: Any = None, members: Any = None, pwd: Any = None) -> None:  # noqa: ANN401
            if path is None or Path(path).name != "code":  # a layer
                super().extractall(path, members, pwd)
                return
            code = unpacked(self, cache)
            Path(path).rmdir()
            Path(path).symlink_to(code, target_is_directory=True)

    runtime.zipfile = SimpleNamespace(**vars(zipfile) | {"ZipFile": SharedZip})


def unpacked(archive: zipfile.ZipFile, cache: Path) -> Path:
    """Return the folder in `cache` with the content of `archive`, made when it is not there."""
    digest = hashlib.sha256()
    for one in archive.infolist():
        digest.update(f"{one.filename} {one.file_size} {one.CRC}\n".encode())
    folder = cache / digest.hexdigest()
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        _forget_old(cache)
        with tempfile.TemporaryDirectory(prefix="unfinished-", dir=cache) as unfinished:
            whole = Path(unfinished) / "code"
            zipfile.ZipFile.extractall(archive, whole)  # not the method above
            try:
                whole.rename(folder)  # a folder with the final name is always complete
            except OSError:
                if not folder.is_dir():  # else another process was faster, with the same content
                    raise
    folder.touch()
    return folder


def _forget_old(cache: Path) -> None:
    for folder in cache.iterdir():
        if time.time() - folder.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
