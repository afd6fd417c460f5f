"""Our keys are found in all that git keeps, and what it cannot read is named."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from admin_cli.tenants.leaks import scan
from chalicelib.tenants import keys
from tests.unit.admin_cli.leaked import places

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def git(repository: Path, *words: str) -> None:
    names = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    identity = ("-c", "user.name=T", "-c", "user.email=t@example.org")
    subprocess.run(
        ["git", *identity, "-C", str(repository), *words],
        check=True,
        capture_output=True,
        env=os.environ | names,
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "repo"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    return path


def commit(repository: Path, name: str, text: str, message: str = "x") -> None:
    (repository / name).write_text(text)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", message)


@pytest.mark.parametrize("packed", [False, True])
def test_what_git_keeps_is_searched(repository: Path, *, packed: bool) -> None:
    removed, told, lost = (keys.mint() for _ in range(3))
    commit(repository, "config.env", f"KEY={removed}\n")
    commit(repository, "config.env", "KEY=\n", f"Remove {told}")
    git(repository, "checkout", "-q", "-b", "side")
    commit(repository, "side.txt", lost)
    git(repository, "checkout", "-q", "main")
    git(repository, "branch", "-q", "-D", "side")
    if packed:
        git(repository, "repack", "-q", "-a", "-d", "-k")
    found = places(scan([repository.parent], history=True), repository.parent)
    assert set(found) == {removed, told, lost}
    assert re.fullmatch(r"repo: config\.env since [0-9a-f]{7,}", found[removed][0])
    assert found[told][0].startswith("repo: commit ")
    assert found[lost][0].endswith(", in no branch")
    assert scan([repository], history=False).places() == {}


def test_a_key_in_a_repository_s_settings_is_found(repository: Path) -> None:
    header, hook = keys.mint(), keys.mint()
    git(repository, "config", "http.extraHeader", f"x-api-key: {header}")
    (repository / ".git" / "hooks").mkdir(exist_ok=True)
    (repository / ".git" / "hooks" / "post-commit").write_text(f"curl -H 'x-api-key: {hook}'\n")
    found = places(scan([repository.parent], history=False), repository.parent)
    assert found == {
        header: [f"repo/.git/config:{_line_of(repository / '.git' / 'config', header)}"],
        hook: ["repo/.git/hooks/post-commit:1"],
    }


def _line_of(file: Path, text: str) -> int:
    lines = file.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_within_another_repository_s_hook_each_one_is_searched_itself(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, other = keys.mint(), tmp_path / "other"
    commit(repository, "config.env", secret)
    other.mkdir()
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    found = scan([repository], history=True).places()[secret]
    assert any(place.startswith(f"{repository}: config.env since ") for place in found)


def test_what_only_a_merge_brought_in_is_placed(repository: Path) -> None:
    secret = keys.mint()
    commit(repository, "a", "1")
    git(repository, "checkout", "-q", "-b", "side")
    commit(repository, "b", "2")
    git(repository, "checkout", "-q", "main")
    commit(repository, "c", "3")
    git(repository, "merge", "-q", "--no-commit", "side")
    commit(repository, "by hand ä.env", secret)
    found = scan([repository], history=True).places()[secret]
    assert re.search(r": by hand ä\.env since [0-9a-f]{7,}$", found[0])


@pytest.mark.parametrize("count", [0, 1, 25])
def test_git_is_started_once_for_all_objects_and_once_for_all_places(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    found = [keys.mint() for _ in range(count)]
    commit(repository, "first", "nothing")
    for number, secret in enumerate(found):
        commit(repository, f"{number}.env", secret)
    real, told = shutil.which("git"), tmp_path / "told"
    (tmp_path / "bin").mkdir()
    stand_in = tmp_path / "bin" / "git"
    stand_in.write_text(f'#!/bin/sh\necho start >> "{told}"\nexec "{real}" "$@"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")
    places = scan([repository], history=True).places()
    assert all("since" in places[secret][0] for secret in found)
    assert told.read_text().count("start") == (2 if count else 1)


def test_a_bare_repository_is_searched_by_git_alone(repository: Path, tmp_path: Path) -> None:
    secret = keys.mint()
    commit(repository, "a", secret)
    git(repository, "clone", "-q", "--bare", ".", str(tmp_path / "bare"))
    found = scan([tmp_path / "bare"], history=True)
    assert set(found.places()) == {secret}
    assert found.repositories == 1


def loose(repository: Path, name: str) -> Path:
    """Return the file in which git keeps what the last commit has under this name, for writing."""
    shown = subprocess.run(
        ["git", "-C", str(repository), "rev-parse", f"HEAD:{name}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    file = repository / ".git" / "objects" / shown[:2] / shown[2:]
    file.chmod(0o644)
    return file


def spoil_header(repository: Path, _: pytest.MonkeyPatch) -> None:
    loose(repository, "other.env").write_bytes(b"no object at all")


def empty(repository: Path, _: pytest.MonkeyPatch) -> None:
    loose(repository, "other.env").write_bytes(b"")


def spoil_content(repository: Path, _: pytest.MonkeyPatch) -> None:
    file = loose(repository, "other.env")
    content = bytearray(file.read_bytes())
    content[-4:] = bytes(byte ^ 0xFF for byte in content[-4:])  # its checksum
    file.write_bytes(content)


def give_away(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have git believe that the repository is another user's, whose settings it does not trust."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)


def uninstall(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))


def forbid(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository.parent / "bin").mkdir()
    (repository.parent / "bin" / "git").touch(mode=0o644)
    monkeypatch.setenv("PATH", str(repository.parent / "bin"))


@pytest.mark.parametrize(
    ("hinder", "reason"),
    [
        (spoil_header, "git cannot read all of it"),
        (empty, "git cannot read all of it"),
        (spoil_content, "git cannot read all of it"),
        (give_away, "git cannot read all of it"),
        (uninstall, "git is not installed"),
        (forbid, "Permission denied"),
    ],
)
def test_what_git_cannot_read_is_named_and_files_are_searched_all_the_same(
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    hinder: Callable[[Path, pytest.MonkeyPatch], None],
    reason: str,
) -> None:
    secret = keys.mint()
    commit(repository, "other.env", "x" * 100)
    commit(repository, "config.env", secret)
    hinder(repository, monkeypatch)
    found = scan([repository], history=True)
    [unreadable] = found.unreadable
    assert unreadable.startswith(f"{repository}: ")
    assert reason in unreadable
    assert found.repositories == 0
    assert f"{repository}/config.env:1" in found.places()[secret]


def test_after_a_damaged_repository_the_others_are_searched(repository: Path) -> None:
    """The one that comes first lies there as a folder alone; what it holds as files counts too."""
    root, within, after = repository.parent, keys.mint(), keys.mint()
    broken = root / "a broken one"
    (broken / ".git").mkdir(parents=True)
    (broken / "notes.txt").write_text(within)
    commit(repository, "config.env", after)
    commit(repository, "config.env", "")
    found = scan([broken, repository], history=True)
    assert [one.partition(": ")[0] for one in found.unreadable] == [str(broken)]
    assert found.repositories == 1
    told = places(found, root)
    assert told[within] == ["a broken one/notes.txt:1"]
    assert "config.env since" in told[after][0]


def test_what_git_keeps_beside_a_damaged_object_is_told(repository: Path) -> None:
    found_by_git = [keys.mint() for _ in range(30)]
    for number, secret in enumerate(found_by_git):
        (repository / f"{number}.env").write_text(secret)
    commit(repository, "other.env", "x" * 100)
    loose(repository, "other.env").write_bytes(b"no object at all")
    for file in repository.glob("*.env"):
        file.unlink()
    found = scan([repository], history=True)
    assert set(found.places()) == set(found_by_git)
    assert len(found.unreadable) == 1


def test_what_a_partial_clone_lacks_is_no_damage(repository: Path, tmp_path: Path) -> None:
    secret = keys.mint()
    commit(repository, "config.env", "x", f"Remove {secret}")
    git(repository, "config", "uploadpack.allowFilter", "true")
    partial = ("--no-checkout", "--filter=blob:none", repository.as_uri())
    git(tmp_path, "clone", "-q", *partial, str(tmp_path / "partial"))
    found = scan([tmp_path / "partial"], history=True)
    assert (found.unreadable, found.repositories) == ([], 1)
    assert set(found.places()) == {secret}


def test_what_was_never_committed_is_found(repository: Path, tmp_path: Path) -> None:
    secret = keys.mint()
    (tmp_path / "x").write_text(secret)
    git(repository, "hash-object", "-w", str(tmp_path / "x"))
    [place] = scan([repository], history=True).places()[secret]
    assert place.endswith(", in no branch")
