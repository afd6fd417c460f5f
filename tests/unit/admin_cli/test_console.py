from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from admin_cli.__main__ import explain, run
from admin_cli.console import CliError, Console
from admin_cli.deploying import lambda_packages
from chalicelib.domain import Client
from chalicelib.errors import StorageUnavailable
from tests.fakes.values import a_client


def test_json_is_one_document_of_plain_data(capsys: pytest.CaptureFixture[str]) -> None:
    console, client = Console("local", json=True), a_client(name="Zürich")
    console.info("working")
    console.print_json({"client": client, "home": Path("x"), "none": None})
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert Client.model_validate(found["client"]) == client
    assert (found["home"], found["none"]) == ("x", None)
    assert found["client"]["created_at"] == "2026-11-18T12:00:00Z"
    assert "Zürich" in out
    assert err == "working\n"


@pytest.mark.parametrize(("json_wanted", "out"), [(False, "gone\n"), (True, '{\n  "gone": 1\n}\n')])
def test_an_answer_is_said_once_in_the_form_that_was_asked_for(
    capsys: pytest.CaptureFixture[str],
    json_wanted: bool,  # noqa: FBT001
    out: str,
) -> None:
    Console("local", json=json_wanted).answer({"gone": 1}, "gone")
    assert capsys.readouterr() == (out, "")


@pytest.mark.parametrize("columns", [40, 80])
def test_a_table_folds_instead_of_cutting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = "0123456789" * 12
    Console("local").table(("a", "b"), [(text, None), ("[red]x", 3)])
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines()) <= columns
    assert "…" not in out
    assert "".join(out.split()).count("0123456789") == 12
    assert "[red]x" in out


def test_facts_are_never_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    Console("local").facts([("url", "x" * 200), ("longer", None)])
    assert capsys.readouterr().out == f"url     {'x' * 200}\nlonger  \n"


def test_an_aws_error_is_told_without_its_message() -> None:
    answer = {"Error": {"Code": "AccessDenied", "Message": "not on arn:secret"}}
    error = ClientError(answer, "GetItem")  # type: ignore[arg-type]
    assert explain(error) == "AWS refused GetItem: AccessDenied"
    unreachable = EndpointConnectionError(endpoint_url="https://secret.example")
    assert explain(unreachable) == "AWS cannot be reached: EndpointConnectionError"


# What a deployer has set, and what is said; no machine has the profile or asks EC2 for its role.
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "radgate: no Region: set AWS_DEFAULT_REGION or AWS_PROFILE\n"),
        (
            {"AWS_DEFAULT_REGION": "eu-central-1"},
            "radgate: no credentials for AWS: set AWS_PROFILE",
        ),
        (
            {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "AKIA"},
            "radgate: half of the credentials for AWS: set both",
        ),
        ({"AWS_PROFILE": "nobody"}, "radgate: no such profile in the configuration of AWS"),
    ],
)
@pytest.mark.parametrize(
    "words", [("doctor",), ("deploy", "--dry-run"), ("clients", "list")], ids=" ".join
)
def test_what_is_missing_to_ask_aws_is_told_with_its_remedy(
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, str],
    said: str,
    words: tuple[str, ...],
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    nowhere = {"HOME": str(tmp_path), "RADGATE_HOME": str(tmp_path / "home")}
    for name, value in (settings | nowhere | {"AWS_EC2_METADATA_DISABLED": "true"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setattr(lambda_packages, "OLDEST_ON_AWS", (3, 11))
    assert run(["--stage", "prod", *words]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(said)
    assert err.count("\n") == 1


def test_a_dry_run_says_that_this_python_cannot_deploy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RADGATE_HOME", str(tmp_path))
    monkeypatch.setattr(lambda_packages, "OLDEST_ON_AWS", (sys.version_info[0] + 1, 0))
    assert run(["--stage", "prod", "deploy", "--dry-run"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("radgate: stage prod needs Python 3.12 or newer to deploy from")


def test_a_storage_error_is_told_with_what_lies_behind_it() -> None:
    answer = {"Error": {"Code": "AccessDenied", "Message": ""}}
    error = StorageUnavailable("The table does not answer.")
    error.__cause__ = ClientError(answer, "GetItem")  # type: ignore[arg-type]
    assert explain(error) == "The table does not answer. (AWS refused GetItem: AccessDenied)"


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert "clients" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "wanted"), [("keys r", {"rotate", "revoke"}), ("aud", {"audit"})]
)
def test_a_shell_can_complete_commands(words: str, wanted: set[str]) -> None:
    asked = f"radgate {words}"
    done = subprocess.run(
        [sys.executable, "-m", "admin_cli"],
        cwd=Path(__file__).parents[3],
        env=os.environ
        | {
            "_RADGATE_COMPLETE": "complete_bash",
            "COMP_WORDS": asked,
            "COMP_CWORD": str(len(asked.split()) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(done.stdout.split()) == wanted


def test_a_question_that_nobody_can_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(CliError, match="Nobody is there to answer: give --yes"):
        Console("local").confirm("Go on?", yes=False)
    Console("local").confirm("Go on?", yes=True)


def test_progress_is_silent_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Console("local").progress("Working", 3) as move:
        move(1)
    assert capsys.readouterr() == ("", "")
