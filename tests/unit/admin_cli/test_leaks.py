"""Our keys are found wherever they stand, and nothing else is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_cli.console import CliError
from admin_cli.tenants.leaks import CHECKED, Findings, keys_in, note_lines, scan
from chalicelib.errors import KeyUnknown
from chalicelib.tenants import keys

if TYPE_CHECKING:
    from collections.abc import Callable

DOCS = Path(__file__).parents[3] / "docs"
ALNUM = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_a_key_is_found_in_any_surroundings(before: bytes, after: bytes) -> None:
    secret = keys.mint()
    assert (len(before), secret) in set(keys_in(before + secret.encode() + after))


@pytest.mark.parametrize("order", ["le", "be"])
@given(st.binary(max_size=80), st.binary(max_size=80))
def test_a_key_in_utf_16_is_found(order: str, before: bytes, after: bytes) -> None:
    secret = keys.mint()
    text = secret.encode(f"utf-16-{order}")
    assert (len(before) + (order == "be"), secret) in keys_in(before + text + after)


def test_a_file_in_utf_16_has_its_lines(tmp_path: Path) -> None:
    first, second = keys.mint(), keys.mint("test")
    (tmp_path / "x.ini").write_text(f"[a]\nkey={first}\n\n{second}", encoding="utf-16")
    found = places(scan([tmp_path], history=True), tmp_path)
    assert found == {first: ["x.ini:2"], second: ["x.ini:4"]}


@given(st.integers(1, 40))
def test_a_key_within_what_only_looks_like_one_is_found(cut: int) -> None:
    secret, decoy = keys.mint(), keys.mint()[:cut]
    assert secret in {found for _, found in keys_in((decoy + secret).encode())}


@given(st.text(ALNUM, min_size=38, max_size=38))
def test_a_word_that_fails_the_checksum_is_no_key(text: str) -> None:
    assert list(keys_in(f"rgl{text}".encode())) == []


def places(findings: Findings, root: Path) -> dict[str, list[str]]:
    """Return what was found with paths from `root` on."""
    return {
        secret: [place.replace(f"{root}/", "") for place in found]
        for secret, found in findings.places().items()
    }


def test_files_are_searched_at_any_depth_with_their_line(tmp_path: Path) -> None:
    text, binary = keys.mint(), keys.mint("test")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / ".env").write_text(f"X=1\n\nKEY={text}\n")
    (tmp_path / "dump.bin").write_bytes(b"\x00\xff" * 5000 + binary.encode() + b"\x00")
    (tmp_path / "empty").touch()
    (tmp_path / "word.txt").write_text("rgl" + "0" * 38)
    found = scan([tmp_path], history=True)
    assert places(found, tmp_path) == {binary: ["dump.bin:1"], text: ["a/b/.env:3"]}
    assert (found.files, found.repositories, found.unreadable) == (4, 0, [])
    assert text not in repr(found)


def test_a_single_file_and_several_paths(tmp_path: Path) -> None:
    secret = keys.mint()
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"{secret} {secret}\n{secret}")
    found = scan([tmp_path / "one", tmp_path / "two"], history=True)
    assert places(found, tmp_path) == {secret: ["one:1", "one:2", "two:1", "two:2"]}


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").write_text(keys.mint())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "outside" / "x")
    assert scan([tmp_path / "in"], history=True).places() == {}


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert scan([tmp_path], history=True).files == 0


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="is not there"):
        scan([tmp_path / "nothing"], history=True)


# --- work -------------------------------------------------------------------------------


class Read(bytes):
    """Bytes that count how many of them were copied."""

    copied = 0

    def __getitem__(self, part: Any) -> Any:
        copy = super().__getitem__(part)
        self.copied += len(copy)
        return copy


def lines_of(data: bytes) -> dict[str, list[int]]:
    findings = Findings()
    note_lines(data, "file", findings)
    return {
        secret: [int(place.removeprefix("file:")) for place in found]
        for secret, found in findings.places().items()
    }


@pytest.mark.parametrize("lines", [1, 500, 20_000])
def test_lines_are_counted_in_one_pass_however_many_keys_there_are(lines: int) -> None:
    secret = keys.mint()
    log = Read((secret + "\n").encode() * lines)
    assert lines_of(log) == {secret: [*range(1, lines + 1)]}
    # Each byte once, some at the end of each piece twice, and the beginning, which may show UTF-16.
    assert log.copied <= len(log) * 1.001 + 8192


def test_a_key_far_into_a_file_has_its_line() -> None:
    near, far = keys.mint(), keys.mint()
    text = b"\n" * 3_000_000 + near.encode() + b"\n" * 3_000_000 + far.encode()
    assert lines_of(text) == {near: [3_000_001], far: [6_000_001]}


def test_what_is_checked_in_pieces_is_found_at_every_place_of_them() -> None:
    """A file of keys that are of another length than a piece: many lie across a border."""
    found = [keys.mint() for _ in range(500)] * 20
    text = "\n".join(found).encode()
    assert len(text) > 3 * CHECKED
    assert [secret for _, secret in keys_in(text)] == found
    assert [place for place, _ in keys_in(text)] == [*range(0, len(text), 42)]
    wide = "\n".join(found).encode("utf-16-le")
    assert [secret for _, secret in keys_in(wide)] == found


def test_a_line_that_has_a_key_twice_is_told_once() -> None:
    findings, secret = Findings(), keys.mint()
    note_lines(f"{secret}{secret}\n{secret}".encode(), "file", findings)
    assert findings.places()[secret] == ["file:1", "file:2"]


PIECES = st.lists(
    st.one_of(
        st.sampled_from(["r", "rg", "rgl", "rgt", "rglrgt", "\n", "\0", "é"]),
        st.text(ALNUM, max_size=50),
        st.builds(keys.mint, st.sampled_from(["live", "test"])),
        st.builds(lambda cut: keys.mint()[:cut], st.integers(1, 40)),
    ),
    max_size=8,
)


@given(PIECES)
def test_many_checksums_at_once_are_those_of_one(pieces: list[str]) -> None:
    """Over arrays nothing else is a key than what the service itself takes for one."""
    text = "".join(pieces).encode()
    wanted = [
        (place, window.decode())
        for place in range(len(text))
        if is_key(window := text[place : place + 41])
    ]
    assert keys_in(text) == wanted


def is_key(window: bytes) -> bool:
    try:
        keys.read(window.decode("ascii"))
    except (KeyUnknown, UnicodeDecodeError):
        return False
    return True


# --- git --------------------------------------------------------------------------------


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


# --- other scanners ---------------------------------------------------------------------


def test_the_pattern_for_other_scanners_is_ours() -> None:
    [rule] = tomllib.loads((DOCS / "gitleaks.toml").read_text(encoding="utf-8"))["rules"]
    assert rule["regex"] == keys.PATTERN.pattern
    for mode in ("live", "test"):
        secret = keys.mint(mode)
        assert re.search(rule["regex"], f"key={secret}")
        assert any(word in secret for word in rule["keywords"])
