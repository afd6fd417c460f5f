"""One of a thing is one, not `1 things`."""

from __future__ import annotations

import pytest

from admin_cli.words import counted, sized


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 keys"), (1, "1 key"), (2, "2 keys"), (12_000, "12,000 keys")]
)
def test_a_number_of_things(count: int, said: str) -> None:
    assert counted(count, "key") == said


def test_a_plural_of_its_own() -> None:
    assert counted(1, "repository", "repositories") == "1 repository"
    assert counted(0, "repository", "repositories") == "0 repositories"


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (63_400, "63.4 kB"),
        (31_000_000, "31.0 MB"),
        (1_230_000_000, "1.2 GB"),
        (4_321_000_000_000, "4,321.0 GB"),
    ],
)
def test_a_size_is_never_nothing_of_a_large_unit(size: int, said: str) -> None:
    assert sized(size) == said
