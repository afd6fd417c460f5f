"""Our keys are found wherever they stand, and nothing else is."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_cli.console import CliError
from admin_cli.tenants.leaks import CHECKED, Findings, keys_in, note_lines, scan
from chalicelib.errors import KeyUnknown
from chalicelib.tenants import keys
from tests.unit.admin_cli.leaked import places

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


def test_the_pattern_for_other_scanners_is_ours() -> None:
    [rule] = tomllib.loads((DOCS / "gitleaks.toml").read_text(encoding="utf-8"))["rules"]
    assert rule["regex"] == keys.PATTERN.pattern
    for mode in ("live", "test"):
        secret = keys.mint(mode)
        assert re.search(rule["regex"], f"key={secret}")
        assert any(word in secret for word in rule["keywords"])
