"""Tables that keep ids whole, and one line for whatever is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.admin_cli.commands.conftest import Radgate

# moto leaves out what it does not know, such as the bucket's policy; none of it is used here.
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse")


def test_tables_fit_80_columns_and_keep_every_id_whole(radgate: Radgate) -> None:
    long = "z" * 63
    radgate.create(long, name="The Royal College of Very Long Names of Hospitals and Sons, Ltd.")
    radgate.create("short")
    radgate.json("keys", "issue", "short")
    key = radgate.json("keys", "issue", long, "--label", "the label of this key is long " * 3)
    for words in (
        *(("clients", "list"), ("clients", "show", "short"), ("keys", "list", long)),
        *(("plans", "list"), ("plans", "show", "network")),
        *(("audit", "log"), ("usage", "report"), ("webhooks", "list")),
    ):
        ended = radgate(*words)
        assert ended.status == 0
        assert max(len(line.rstrip()) for line in ended.stdout.splitlines()) <= 80
    assert key["id"] in radgate("keys", "list", long).stdout
    assert key["id"] in radgate("clients", "show", long).stdout


def test_a_name_is_shown_as_it_was_given(radgate: Radgate) -> None:
    radgate.create("markup", name="[bold]Ümlaut & Söhne[/bold]")
    assert "[bold]Ümlaut & Söhne[/bold]" in radgate("clients", "show", "markup").stdout
    assert "[bold]Ümlaut" in radgate("clients", "list").stdout


@pytest.mark.parametrize(
    "words",
    [
        ("clients", "show", "ghost"),
        ("clients", "suspend", "ghost"),
        ("clients", "create", "ok", "--name", "X", "--email", "x@x.example", "--plan", "gold"),
        ("keys", "issue", "ghost"),
        ("keys", "list", "ghost"),
        ("keys", "revoke", "key_01JD8Z5M3Q4R6S7T8V9W0XYZAB"),
        ("audit", "log", "--client", "ghost"),
        ("plans", "show", "gold"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("form", ["table", "json"])
def test_a_refusal_is_one_line_on_stderr_and_status_1(
    radgate: Radgate, words: tuple[str, ...], form: str
) -> None:
    ended = radgate("--output", form, *words)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr.startswith("radgate: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("clients", "nonsense"),
        ("clients", "create", "acme"),
        ("clients", "show"),
        ("keys", "issue", "acme", "--expires-in", "soon"),
        ("keys", "issue", "acme", "--expires-in", "9999w"),
        ("keys", "issue", "acme", "--scope", "everything"),
        ("clients", "list", "--output", "json"),
        ("--output", "xml", "clients", "list"),
        ("--stage", "Not_A_Stage", "clients", "list"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_on_stderr_and_status_2(
    radgate: Radgate, words: tuple[str, ...]
) -> None:
    ended = radgate(*words)
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith("radgate: ")
    assert ended.stderr.count("\n") == 1


def test_a_stage_that_is_not_there_or_has_no_api_says_to_deploy(radgate: Radgate) -> None:
    for stage in ("ghost", "prod"):
        ended = radgate("clients", "list", stage=stage)
        assert ended.status == 1
        assert "deploy" in ended.stderr
