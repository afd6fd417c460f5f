"""The zip of a real stage: everything in it is compiled, and starts without compiling anything.

An operator's environment may make Python write bytecode of other kinds, and beside what Chalice
imports: nothing of that may get into it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest

from admin_cli.deploying.bytecode import TASK
from admin_cli.deploying.emit import emit
from admin_cli.deploying.lambda_packages import CACHE, lambda_packages
from admin_cli.deploying.stage_settings import stage_settings
from tests.compiled import UNCHECKED, filenames, flags

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
# Python says when it compiles. Anything but files of the zip is somebody's `eval`.
START = """
import json, sys
folder, compiled = sys.argv[1], []

def hear(event, facts):
    if event == "compile" and str(facts[1]).startswith(folder):
        compiled.append(str(facts[1]))

sys.addaudithook(hear)
sys.path.insert(0, folder)
import app, fpdf
files = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
loaded = [file for file in files if file.startswith(folder) and file.endswith(".py")]
print(json.dumps({"compiled": compiled, "loaded": loaded}))
"""
# Of the limits of Lambda, in bytes: of a zip that is sent, and of what it unpacks to.
MOST_ZIPPED, MOST_UNZIPPED = 50_000_000, 250_000_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def package(home: Path) -> Path:
    """The code of stage local, whose packages are always this machine's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("PYTHONOPTIMIZE", "1")
        packages = lambda_packages("local")
        settings = stage_settings("local")
        _template, code, _notes = emit("local", settings, home, home / "out", packages=packages)
    return code


@pytest.fixture(scope="module")
def contents(package: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
        assert len(set(names)) == len(names)
        return {name: archive.read(name) for name in names}


def bytecode_of(name: str) -> str:
    path = Path(name)
    return str(path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc")


def test_every_module_and_nothing_else_is_compiled(contents: dict[str, bytes]) -> None:
    sources = {name for name in contents if name.endswith(".py")}
    assert {"app.py", "chalice/app.py", "chalicelib/errors.py", "fpdf/fpdf.py"} <= sources
    wanted = {bytecode_of(name) for name in sources}
    assert {name for name in contents if "__pycache__" in name or name.endswith(".pyc")} == wanted
    for name in sources:
        compiled = contents[bytecode_of(name)]
        assert flags(compiled) == UNCHECKED
        assert filenames(compiled) == {f"{TASK}/{name}"}


def test_no_path_of_this_machine_is_in_it(contents: dict[str, bytes], home: Path) -> None:
    python = (sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"))
    for path in (str(home), str(CACHE), *python):
        assert [name for name, data in contents.items() if path.encode() in data] == []


def test_it_is_within_lambdas_limits(package: Path, contents: dict[str, bytes]) -> None:
    assert package.stat().st_size < MOST_ZIPPED
    assert sum(map(len, contents.values())) < MOST_UNZIPPED


def started(folder: Path) -> dict[str, Any]:
    # Isolated and without site: the standard library, the zip, nothing else.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", START, str(folder)],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_it_starts_from_a_folder_that_cannot_be_written_to_and_compiles_nothing(
    package: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "task"
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (2_000_000_000, 2_000_000_000))  # of no matter
        path.chmod(0o555)
    try:
        first = started(folder)
        assert first["compiled"] == []
        assert len(first["loaded"]) > 100
        # Another Python finds no bytecode of its own, or one that is not: all works as before.
        names = ("chalicelib/errors.py", "pydantic/main.py")
        gone, foreign = (folder / bytecode_of(name) for name in names)
        gone.parent.chmod(0o755)
        gone.unlink()
        foreign.chmod(0o644)
        foreign.write_bytes(b"\0\0\r\n" + foreign.read_bytes()[4:])
        second = started(folder)
        assert sorted(second["compiled"]) == [str(folder / name) for name in names]
        assert sorted(second["loaded"]) == sorted(first["loaded"])
    finally:
        for path in folder.rglob("*"):
            if path.is_dir():
                path.chmod(0o755)
