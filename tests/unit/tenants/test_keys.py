from __future__ import annotations

import string
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chalicelib.errors import KeyUnknown
from chalicelib.tenants import keys

if TYPE_CHECKING:
    from chalicelib.domain import Mode

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
MODES: st.SearchStrategy[Mode] = st.sampled_from(["live", "test"])
minted = MODES.map(keys.mint)


@given(MODES)
def test_a_minted_key_is_read_back_in_its_mode(mode: Mode) -> None:
    secret = keys.mint(mode)
    assert keys.read(secret) == mode
    assert secret.startswith({"live": "rgl", "test": "rgt"}[mode])


@given(minted)
def test_a_key_is_what_api_gateway_takes(secret: str) -> None:
    assert len(secret) == 41
    assert set(secret) <= set(BASE62)


@given(minted)
def test_the_checksum_is_crc32_in_base62_most_significant_digit_first(secret: str) -> None:
    value = 0
    for digit in secret[35:]:
        value = value * 62 + BASE62.index(digit)
    assert value == zlib.crc32(secret[:35].encode("ascii"))


@given(minted, st.integers(0, 40), st.sampled_from(BASE62))
def test_one_wrong_character_is_refused(secret: str, at: int, wrong: str) -> None:
    assume(secret[at] != wrong)
    with pytest.raises(KeyUnknown):
        keys.read(secret[:at] + wrong + secret[at + 1 :])


@given(minted, st.integers(0, 39))
def test_two_swapped_neighbours_are_refused(secret: str, at: int) -> None:
    assume(secret[at] != secret[at + 1])
    swapped = secret[:at] + secret[at + 1] + secret[at] + secret[at + 2 :]
    with pytest.raises(KeyUnknown):
        keys.read(swapped)


@given(st.text() | st.from_regex(r"rg[lt][0-9A-Za-z]{38}", fullmatch=True))
def test_what_was_never_minted_is_refused(text: str) -> None:
    # A chance hit has one in 2^32; hypothesis will not find it.
    with pytest.raises(KeyUnknown):
        keys.read(text)


@given(minted)
def test_padding_and_line_ends_are_refused(secret: str) -> None:
    for spoilt in (f" {secret}", f"{secret}\n", f"{secret} ", secret[:-1], f"{secret}0"):
        with pytest.raises(KeyUnknown):
            keys.read(spoilt)


@given(minted)
def test_the_refusal_does_not_repeat_the_key(secret: str) -> None:
    spoilt = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    with pytest.raises(KeyUnknown) as refused:
        keys.fingerprint(spoilt)
    assert secret[3:12] not in f"{refused.value!r} {refused.value.detail}"


def test_keys_do_not_repeat() -> None:
    assert len({keys.mint() for _ in range(2000)}) == 2000


def test_the_hash_is_sha256_of_the_text() -> None:
    assert keys.sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_fingerprint_of_a_good_key_is_its_hash() -> None:
    secret = keys.mint()
    assert keys.fingerprint(secret) == keys.sha256(secret)


@given(minted)
def test_the_hint_holds_nothing_of_the_random_part(secret: str) -> None:
    assert keys.hint(secret) == f"{secret[:3]}…{secret[-4:]}"


@given(minted, st.text(alphabet=" ='\"\n:", min_size=1), st.text(alphabet=" '\"\n", min_size=1))
def test_the_pattern_finds_a_key_within_a_text(secret: str, before: str, after: str) -> None:
    assert keys.PATTERN.findall(f"key{before}{secret}{after}") == [secret]
