"""`make demo`: a finding and a PDF or a reason; nothing is left running after either."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import PROJECT, Radgate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def radgate(tmp_path_factory: pytest.TempPathFactory) -> Radgate:
    """As a newcomer runs it."""
    return Radgate(tmp_path_factory.mktemp("demo") / "home")


def demo(radgate: Radgate, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "admin_cli.local.demo", *arguments],
        cwd=folder,
        env=radgate.environment() | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def assert_nothing_runs(radgate: Radgate) -> None:
    inner = Radgate(radgate.home / "demo")
    assert inner.json("local", "status")["running"] is False


def test_it_ends_with_a_finding_and_a_pdf(radgate: Radgate, tmp_path: Path) -> None:
    done = demo(radgate, tmp_path)
    assert done.returncode == 0, done.stderr
    words, _, rest = done.stdout.partition("{")
    study = json.loads("{" + rest)
    assert study["status"] == "succeeded"
    assert f"Answer: {study['label']}." in words
    assert "Not for diagnosis" in words
    assert (tmp_path / "demo-report.pdf").read_bytes().startswith(b"%PDF-")
    assert_nothing_runs(radgate)


def test_it_tells_why_it_failed_and_stops_all_the_same(radgate: Radgate, tmp_path: Path) -> None:
    image = tmp_path / "letter.txt"
    image.write_text("no image at all")
    done = demo(radgate, tmp_path, "--image", str(image))
    assert done.returncode == 1
    assert "answered 415" in done.stderr
    assert not (tmp_path / "demo-report.pdf").exists()
    assert_nothing_runs(radgate)
