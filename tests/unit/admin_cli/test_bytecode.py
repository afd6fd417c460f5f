"""Compiled modules hold Lambda's paths, care for no time stamp, and are the same bytes anywhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from admin_cli.console import CliError
from admin_cli.deploying.bytecode import TASK, compile_modules
from tests.compiled import UNCHECKED, filenames, flags

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = {
    "top.py": 'def f(x):\n    return x in {"a", "b", "c", "d", "ab", "cd"}\n',
    "package/__init__.py": "",
    "package/inner.py": "class A:\n    b = [one for one in range(3)]\n",
    # By these names Python has modules of its own, which the compiling process needs.
    "struct.py": 'raise RuntimeError("imported")\n',
    "compileall.py": 'raise RuntimeError("imported")\n',
}


def written(folder: Path) -> Path:
    for name, text in SOURCES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def compiled(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.pyc")
    }


def test_equal_sources_give_equal_bytes_in_any_folder_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = written(tmp_path / "one"), written(tmp_path / "a much longer" / "name")
    compile_modules(one)
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "elsewhere"))
    compile_modules(other)
    assert len(compiled(one)) == len(SOURCES)
    assert compiled(one) == compiled(other)


def test_all_code_is_of_the_place_where_lambda_unpacks_it(tmp_path: Path) -> None:
    compile_modules(written(tmp_path))
    found = {name for data in compiled(tmp_path).values() for name in filenames(data)}
    assert found == {f"{TASK}/{name}" for name in SOURCES}


def test_the_time_of_a_source_says_nothing(tmp_path: Path) -> None:
    compile_modules(written(tmp_path))
    assert {flags(data) for data in compiled(tmp_path).values()} == {UNCHECKED}


def test_only_what_is_named_is_compiled_and_always_anew(tmp_path: Path) -> None:
    compile_modules(written(tmp_path), "top.py")
    [name] = compiled(tmp_path)
    (tmp_path / name).write_bytes(b"of another source")
    compile_modules(tmp_path, "top.py", "package")
    assert set(compiled(tmp_path)) >= {name}
    assert len(compiled(tmp_path)) == 3
    assert filenames(compiled(tmp_path)[name]) == {f"{TASK}/top.py"}


def test_an_empty_folder_is_left_empty(tmp_path: Path) -> None:
    compile_modules(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_compile_is_named(tmp_path: Path) -> None:
    (written(tmp_path) / "package" / "bad.py").write_text("def f(:\n")
    with pytest.raises(CliError, match=r"could not be compiled: .*package/bad\.py.*SyntaxError"):
        compile_modules(tmp_path)


def test_the_tag_of_the_files_is_this_pythons(tmp_path: Path) -> None:
    compile_modules(written(tmp_path))
    tag = f".cpython-{sys.version_info[0]}{sys.version_info[1]}.pyc"
    assert all(name.endswith(tag) for name in compiled(tmp_path))
