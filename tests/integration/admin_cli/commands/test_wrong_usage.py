"""What no stage could make use of ends with status 2, in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.admin_cli.commands.conftest import Radgate

# moto leaves out what it does not know, such as the bucket's policy; none of it is used here.
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse")

_WHO = ("--name", "X", "--email", "x@x.example")
_PLAN = ("--plan", "clinic")
# Words of the library that checks values, which are for those who write programs.
_INTERNAL = ("Value error", "String should", "pattern", "Field required")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("clients", "create", "x", *_WHO, *_PLAN), "2 to 63 lower-case letters"),
        (("clients", "create", "Acme", *_WHO, *_PLAN), "2 to 63 lower-case letters"),
        (("clients", "create", "ok\n", *_WHO, *_PLAN), "2 to 63 lower-case letters"),
        (("clients", "create", "ok", "--name", "", *_WHO[2:], *_PLAN), "1 to 200 characters"),
        (("clients", "create", "ok", "--name", "x" * 201, *_WHO[2:], *_PLAN), "1 to 200"),
        (("clients", "create", "ok", "--name", "a\nb", *_WHO[2:], *_PLAN), "one line"),
        (("clients", "create", "ok", *_WHO[:2], "--email", "abc", *_PLAN), "one plain address"),
        (("clients", "create", "ok", *_WHO[:2], "--email", "a@b.example\n", *_PLAN), "address"),
        (("clients", "update", "ok", "--email", "a@b.example, c@d.example"), "one plain address"),
        (("clients", "update", "ok", "--name", ""), "1 to 200 characters"),
        (("keys", "issue", "ok", "--label", "x" * 101), "at most 100 characters"),
        (("keys", "issue", "ok", "--label", "a\x1b[2Jb"), "one line"),
        (("keys", "issue", "ok", "--scope", "foo"), "studies:write"),
        (("keys", "revoke", "nonsense"), "not the id of a key"),
        (("keys", "rotate", "nonsense"), "not the id of a key"),
        (("models", "verify", "cardionet-1"), "NAME@VERSION"),
        (("models", "activate", "cardionet"), "NAME@VERSION"),
        (("usage", "invoice", "--month", "2099-01"), "has not begun"),
        (("usage", "report", "--format", "yaml"), "'yaml'"),
        (("--output", "yaml", "clients", "list"), "'yaml'"),
    ],
    ids=lambda words: (
        "" if isinstance(words, str) else " ".join(words)[:60].encode("unicode_escape").decode()
    ),
)
def test_what_cannot_be_is_wrong_usage_in_plain_words(
    radgate: Radgate, words: tuple[str, ...], said: str
) -> None:
    ended = radgate(*words)
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith("radgate: ")
    assert ended.stderr.count("\n") == 1
    assert said in ended.stderr
    assert not any(one in ended.stderr for one in _INTERNAL)


def test_a_secret_in_the_place_of_an_id_is_not_repeated(radgate: Radgate) -> None:
    pasted = "rgl" + "A" * 38
    for command in ("revoke", "rotate"):
        assert pasted not in radgate("keys", command, pasted).stderr
