"""Which type of endpoint the API of a live stage can take on. Over moto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import boto3
import pytest
from moto import mock_aws

from admin_cli.console import CliError
from admin_cli.deploying.deployment_record import Deployment, write_deployment
from admin_cli.deploying.live_changes import check_changes
from admin_cli.deploying.stage_settings import StageSettings
from admin_cli.foundation import apply_foundation
from chalicelib import aws

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse")
PRIVATE = {"endpoint": "private", "vpc_endpoints": ["vpce-0123abcd"]}


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        aws.table.cache_clear()
        yield
        aws.table.cache_clear()


def live(endpoint: Literal["EDGE", "PRIVATE", "REGIONAL"]) -> None:
    """A deployed stage dev, as far as these checks look."""
    apply_foundation("dev")
    api = boto3.client("apigateway").create_rest_api(
        name="radgate-dev", endpointConfiguration={"types": [endpoint]}
    )
    told = ("v1", "https://api.example", "2026-11-22T12:00:00Z", "ab", "", "{}")
    write_deployment("radgate-dev", Deployment(api["id"], *told))


def change(fields: dict[str, Any]) -> None:
    check_changes("dev", StageSettings.model_validate(fields))


def test_a_private_api_becomes_an_edge_one_in_two_steps_only() -> None:
    live("PRIVATE")
    with pytest.raises(CliError, match='endpoint = "regional" first, then with "edge"'):
        change({"endpoint": "edge"})
    change({"endpoint": "regional"})
    change(PRIVATE)


@pytest.mark.parametrize("before", ["EDGE", "REGIONAL"])
def test_a_public_api_becomes_any_other(before: Literal["EDGE", "REGIONAL"]) -> None:
    live(before)
    for fields in ({"endpoint": "edge"}, {"endpoint": "regional"}, PRIVATE):
        change(fields)
