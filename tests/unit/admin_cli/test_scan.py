"""`keys scan` as a command: what it could not read is named, and no good news is told of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from admin_cli.__main__ import run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def broken(tmp_path: Path) -> list[str]:
    """21 folders that git takes for damaged repositories, and a file beside them."""
    folders = [tmp_path / f"broken-{number:02}" for number in range(21)]
    for folder in folders:
        (folder / ".git").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("nothing")
    return [str(folder) for folder in folders]


def test_what_could_not_be_read_is_named_and_is_no_success(
    broken: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = ("keys", "scan", str(tmp_path), "--offline")
    assert run([*scan]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert lines[0].startswith("0 keys in 1 file and 0 repositories")
    assert lines[1].startswith("21 could not be read")
    assert sum("git cannot read all of it" in line for line in lines) == 20
    assert "1 more" in lines[-1]
    assert run(["--output", "json", *scan]) == 1
    told = json.loads(capsys.readouterr().out)
    assert {one.partition(": ")[0] for one in told["unreadable"]} == set(broken)
    assert run([*scan, "--no-history"]) == 0
