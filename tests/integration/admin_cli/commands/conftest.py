"""The command line over moto, as its users meet it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

from admin_cli.__main__ import run
from admin_cli.deploying.deployment_record import Deployment, write_deployment
from admin_cli.foundation import apply_foundation
from chalicelib import aws
from tests.integration.admin_cli.conftest import make_api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb.service_resource import Table


@pytest.fixture(scope="module")
def stage() -> Iterator[Table]:
    """The foundation of stage `dev`, with an API deployed on it."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        patch.setenv("COLUMNS", "80")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        aws.table.cache_clear()
        table_name = apply_foundation("dev").TableName
        _, api = make_api()
        write_deployment(table_name, Deployment(api, "v1", "https://api.example", "", "", "", ""))
        apply_foundation("prod")
        yield aws.table(table_name)
        aws.table.cache_clear()


@dataclass
class Ended:
    status: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        assert self.status == 0, self.stderr
        return json.loads(self.stdout)


@dataclass
class Radgate:
    """Runs command lines on stage `dev` in this process."""

    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str, stage: str = "dev") -> Ended:
        self.capsys.readouterr()
        status = run(["--stage", stage, *words])
        return Ended(status, *self.capsys.readouterr())

    def json(self, *words: str) -> Any:
        return self("--output", "json", *words).json()

    def create(self, client_id: str, name: str = "Acme Radiology") -> Any:
        mail = f"it@{client_id}.example"
        options = ("--name", name, "--email", mail, "--plan", "clinic")
        return self.json("clients", "create", client_id, *options)


@pytest.fixture
def radgate(stage: Table, capsys: pytest.CaptureFixture[str]) -> Radgate:
    assert stage.name == "radgate-dev"
    return Radgate(capsys)
