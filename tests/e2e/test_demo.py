"""`make demo`: a finding and a PDF or a reason; nothing is left running after either."""

from __future__ import annotations

import json
import re
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


def assert_as_shown(shown: object, real: object) -> None:
    """The same fields in the same order; `…` stands for anything, numbers may be rounded."""
    if isinstance(shown, dict):
        assert isinstance(real, dict)
        assert list(shown) == list(real)
        for name, value in shown.items():
            assert_as_shown(value, real[name])
    elif isinstance(shown, list):
        assert isinstance(real, list)
        assert len(shown) == len(real)
        for value, its in zip(shown, real, strict=True):
            assert_as_shown(value, its)
    elif isinstance(shown, str) and "…" in shown:
        begin, end = shown.split("…")
        assert isinstance(real, str)
        assert real.startswith(begin)
        assert real.endswith(end)
    elif isinstance(shown, float):
        assert real == pytest.approx(shown, abs=0.001)
    else:
        assert shown == real


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
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"^```json\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert_as_shown(json.loads(shown), study)


def test_it_tells_why_it_failed_and_stops_all_the_same(radgate: Radgate, tmp_path: Path) -> None:
    image = tmp_path / "letter.txt"
    image.write_text("no image at all")
    done = demo(radgate, tmp_path, "--image", str(image))
    assert done.returncode == 1
    assert "answered 415" in done.stderr
    assert not (tmp_path / "demo-report.pdf").exists()
    assert_nothing_runs(radgate)
