"""The Lambda zip, unpacked as a function has it: with its bytecode, and with its sources alone."""

from __future__ import annotations

import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from admin_cli.deploying.emit import emit
from admin_cli.deploying.lambda_packages import lambda_packages
from admin_cli.deploying.stage_settings import stage_settings
from benchmarks.fresh import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOME = ROOT / ".local" / "bench" / "zip"


@contextmanager
def unpacked(tell: Callable[[str], None]) -> Iterator[dict[str, Path]]:
    """Pack the project as for stage local; yield two folders with it that nobody may write to.

    `bytecode` is the whole zip, `sources` has no bytecode.
    """
    tell("packing the project")
    settings, packages = stage_settings("local"), lambda_packages("local")
    with tempfile.TemporaryDirectory(prefix="radgate-") as temporary:
        out = Path(temporary) / "out"
        _template, code, _notes = emit("local", settings, HOME, out, packages=packages)
        folders = {name: Path(temporary) / name for name in ("sources", "bytecode")}
        with zipfile.ZipFile(code) as archive:
            archive.extractall(folders["bytecode"])
            names = [name for name in archive.namelist() if not name.endswith(".pyc")]
            archive.extractall(folders["sources"], names)
        for folder in folders.values():
            for path in (folder, *folder.rglob("*")):
                path.chmod(0o555)
        yield folders
