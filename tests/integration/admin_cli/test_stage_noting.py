"""What is done to a stage as a whole is in its audit trail before it is done, over moto."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from admin_cli.deploying.deployment_record import Deployment, read_deployment, write_deployment
from admin_cli.deploying.noting import note, noted_foundation
from admin_cli.deploying.stage_settings import StageSettings
from admin_cli.foundation import apply_foundation
from admin_cli.stage import Stage
from chalicelib import aws
from chalicelib.tenants.audit import Trail
from tests.integration.admin_cli.commands.conftest import Radgate
from tests.integration.admin_cli.conftest import Killed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chalicelib.tenants.audit import AuditEntry

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse")
RECORD = Deployment("none", "v1", "https://api.example", "2026-11-22T12:00:00Z", "ab", "", "{}")
TOLD = {"rest_api_id": "none", "deployed_at": "2026-11-22T12:00:00Z", "digest": "ab"}


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with mock_aws():
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        monkeypatch.setenv("RADGATE_HOME", str(tmp_path))
        monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
        aws.table.cache_clear()
        yield
        aws.table.cache_clear()


def trail() -> tuple[AuditEntry, ...]:
    return Trail(aws.table("radgate-dev"), str, Stage.clock).latest(10)


def test_a_stage_that_is_not_there_has_nothing_to_note_it_in() -> None:
    assert not note("dev", "stage.deploy", {})


def test_the_first_deploy_has_nothing_before_it_and_the_next_has() -> None:
    apply_foundation("dev")
    assert note("dev", "stage.deploy", {"force": False})
    write_deployment("radgate-dev", RECORD)
    assert note("dev", "stage.deploy", {"force": True})
    second, first = trail()
    assert (first.action, first.subject, first.before) == ("stage.deploy", "dev", None)
    assert (second.before, second.after) == (TOLD, {"force": True})


def test_destroy_is_noted_before_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    apply_foundation("dev")
    write_deployment("radgate-dev", RECORD)
    ended = Radgate(capsys)("destroy", "--yes")
    assert ended.status == 0, ended.stderr
    assert read_deployment("radgate-dev") is None
    [entry] = trail()
    # What was deployed is told, so it was read before the record of it went.
    assert (entry.action, entry.before) == ("stage.destroy", TOLD)
    assert entry.after == {"data": "keep"}


def test_a_table_that_went_in_an_earlier_run_stops_no_destroy() -> None:
    apply_foundation("dev")
    client = boto3.client("dynamodb")
    client.update_table(TableName="radgate-dev", DeletionProtectionEnabled=False)
    client.delete_table(TableName="radgate-dev")
    assert not note("dev", "stage.destroy", {"data": "delete"})


def test_a_deploy_is_noted_once_and_before_anything_is_changed() -> None:
    for number in (1, 2):  # the first has no trail before its foundation
        noted_foundation("dev", StageSettings(), {"force": False}, lambda _text: None)
        assert len(trail()) == number

    def killed(text: str) -> None:
        raise Killed(text)

    with pytest.raises(Killed):
        noted_foundation("dev", StageSettings(), {"force": True}, killed)
    assert trail()[0].after == {"force": True}
