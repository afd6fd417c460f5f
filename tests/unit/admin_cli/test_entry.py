"""`radgate` is there after `make`, works from the checkout alone, and says so elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from pkgutil import resolve_name

import pytest

from admin_cli.entry import main

ROOT = Path(__file__).parents[3]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Return what `pip install .` leaves: the packages without what lies beside them."""
    for name in ("admin_cli", "chalicelib"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def begin(home: Path, *options: str, begun: str = "admin_cli.entry") -> tuple[int, str, str]:
    program = f"import sys; sys.argv = ['radgate', 'plans', 'list']; import {begun} as b; b.main()"
    done = subprocess.run(
        [sys.executable, *options, "-c", program],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("begun", ["admin_cli.entry", "admin_cli.__main__"])
def test_outside_a_checkout_it_ends_in_one_line(elsewhere: Path, begun: str) -> None:
    status, out, err = begin(elsewhere, begun=begun)
    assert (status, out) == (1, "")
    assert re.fullmatch(r"radgate: works from a checkout of .*: run `make venv` there, .*\n", err)


def test_without_what_it_needs_it_ends_in_one_line() -> None:
    status, out, err = begin(ROOT, "-S")  # no site-packages
    assert (status, out) == (1, "")
    assert err == f"radgate: typer is not installed: run `make venv` in {ROOT}\n"


def test_the_command_that_is_installed_is_this_one() -> None:
    assert resolve_name(PYPROJECT["project"]["scripts"]["radgate"]) is main
    done = subprocess.run(
        [Path(sys.executable).with_name("radgate"), "plans", "list"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "clinic" in done.stdout


def test_what_builds_it_is_pinned_and_installed() -> None:
    [backend] = PYPROJECT["build-system"]["requires"]
    assert re.fullmatch(r"setuptools==[0-9.]+", backend)
    wanted = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    assert backend in wanted
