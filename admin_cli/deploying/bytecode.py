"""Compiled modules beside the sources of the Lambda zip.

A function may not write beside its code, so without them each of its processes compiles whatever it
imports. Sources stay for tracebacks. The bytecode never looks at them (unchecked hashes), as the
time stamps in a zip say nothing. Another minor version of Python looks for files of another name
and finds none: then modules are compiled as before, and nothing breaks. Chalice deploys to the
runtime of the Python that it runs on, and that one compiles here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from admin_cli.console import CliError

TASK = "/var/task"  # where Lambda unpacks the zip
_CACHE = "__pycache__"
_OPTIONS = ("--invalidation-mode", "unchecked-hash", "-p", TASK)
# What decides the bytecode, besides the sources and Python's version.
RECIPE = " ".join(("compileall", *_OPTIONS))
# Of Chalice, all that its packager puts into the zip.
_CHALICE = ("__init__.py", "app.py")
_SECONDS = 600


def compile_modules(folder: Path, *names: str) -> None:
    """Compile the modules in `folder`, or only those of the files and folders named in it.

    Equal sources give equal bytes, in whatever folder they lie. Raises CliError when a module
    cannot be compiled.
    """
    names = names or tuple(sorted(entry.name for entry in folder.iterdir()))
    if not names:
        return  # compileall would take all that is installed
    # A process of its own that knows nothing of this one: what is written depends on which strings
    # a process already has, and on the order of its sets. Names alone, so that no path of this
    # machine is written. -P: a package of the folder must not stand in for one of Python's.
    command = [sys.executable, "-S", "-P", "-W", "ignore", "-m", "compileall", "-q", "-f"]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(  # noqa: S603 - this environment's own Python, no shell
        [*command, *_OPTIONS, *names],
        cwd=folder,
        env={**ours, "PYTHONHASHSEED": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        said = f"{done.stdout}\n{done.stderr}".strip().splitlines() or ["no message"]
        raise CliError(f"the code for Lambda could not be compiled: {said[0]} {said[-1]}")


def compile_app(build: Path) -> None:
    """Compile `app.py`, `chalicelib/` and what Chalice adds, in the copy that it deploys from.

    Of the folders beside them Chalice takes `vendor/` alone, and its content goes to the top of
    the zip: bytecode of what lies there goes through it. Raises CliError.
    """
    shutil.rmtree(build / _CACHE, ignore_errors=True)  # as a Chalice run by hand leaves it
    compile_modules(build, "app.py", "chalicelib")
    vendor = build / "vendor"
    _move(build / _CACHE, vendor / _CACHE)
    spec = find_spec("chalice")
    if spec is None or spec.origin is None:
        raise CliError("chalice is not installed")
    runtime = vendor / "chalice"
    if runtime.exists():
        raise CliError("chalice is among the packages for Lambda: its packager adds what it needs")
    runtime.mkdir()
    for name in _CHALICE:
        shutil.copyfile(Path(spec.origin).with_name(name), runtime / name)
    compile_modules(vendor, "chalice")
    # Chalice brings these itself; twice, they would be in the zip twice.
    for name in _CHALICE:
        (runtime / name).unlink()


def link_packages(packages: Path, vendor: Path) -> None:
    """Make `vendor` a folder of links to what is in `packages`, with room for more bytecode."""
    if vendor.is_symlink():
        vendor.unlink()  # as versions before this one have left it
    shutil.rmtree(vendor, ignore_errors=True)
    (vendor / _CACHE).mkdir(parents=True)
    # In order: where a file system lists what was made in its order, Chalice names the zip by it.
    for entry in sorted((*packages.iterdir(), *packages.glob(f"{_CACHE}/*"))):
        if entry.name != _CACHE:
            (vendor / entry.relative_to(packages)).symlink_to(entry)


def _move(source: Path, target: Path) -> None:
    for file in source.iterdir():
        file.replace(target / file.name)
    source.rmdir()
