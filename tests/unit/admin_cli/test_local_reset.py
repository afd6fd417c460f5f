"""`local reset` deletes after a question only, and then what is the local AWS's own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from admin_cli.__main__ import run

if TYPE_CHECKING:
    from pathlib import Path

OWNED = ("emulator", "build", "models", "logs")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home that holds what a local AWS leaves when it has stopped."""
    monkeypatch.setenv("RADGATE_HOME", str(tmp_path))
    for name in OWNED:
        (tmp_path / name).mkdir()
    return tmp_path


def test_where_nobody_can_answer_nothing_is_deleted(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not sys.stdin.isatty()
    assert run(["local", "reset"]) == 1
    assert "give --yes" in capsys.readouterr().err
    assert {entry.name for entry in home.iterdir()} >= {*OWNED}


def test_yes_answers(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["local", "reset", "--yes"]) == 0
    assert capsys.readouterr().out == "all local state is gone\n"
    assert not {entry.name for entry in home.iterdir()} & {*OWNED}
