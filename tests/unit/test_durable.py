"""A file is written whole or not at all, whatever stops it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chalicelib.durable import flush, replace_text

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_made_and_replaced_readable_by_all(tmp_path: Path) -> None:
    path = tmp_path / "active.json"
    for text in ("one", "ÿ two"):
        replace_text(path, text)
        assert path.read_text(encoding="utf-8") == text
        assert path.stat().st_mode & 0o777 == 0o644
        assert [one.name for one in tmp_path.iterdir()] == ["active.json"]


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "active.json"
    replace_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        replace_text(path, "half of it \ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["active.json"]


def test_what_cannot_be_replaced_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "active.json"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        replace_text(path, "new")
    assert [one.name for one in tmp_path.iterdir()] == ["active.json"]


def test_only_a_folder_is_flushed(tmp_path: Path) -> None:
    flush(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        flush(tmp_path / "file")
