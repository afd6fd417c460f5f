"""The schedule's warm-up, and a process that Lambda starts ahead of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app import app
from chalicelib import bootstrap
from chalicelib.services.warming import WARM_UP
from tests.fakes.gateway import FakeGateway
from tests.fresh import forget_everything

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_dynamodb.service_resource import Table


def test_a_warm_up_loads_the_model_and_stores_nothing(table: Table) -> None:
    before = table.scan()["Items"]
    assert app(WARM_UP, None) == {"ready": True, "reason": ""}
    assert table.scan()["Items"] == before
    assert FakeGateway(app).get("/ready").status == 200


def test_a_warm_up_without_a_model_says_so_and_harms_nobody(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert table.scan()["Items"] == []
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    forget_everything()
    assert app(WARM_UP, None) == {"ready": False, "reason": "model_unavailable"}
    assert FakeGateway(app).get("/health").status == 200


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("started", ["on-demand", "provisioned-concurrency"])
def test_only_a_process_that_is_kept_ready_loads_the_model_ahead(
    started: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", started)
    bootstrap.warm_ahead()
    asked = bootstrap.predictor.cache_info().currsize
    assert asked == (1 if started == "provisioned-concurrency" else 0)


@pytest.mark.usefixtures("table")
def test_a_process_that_cannot_load_ahead_still_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is: settings that are amiss are no error of the tree."""
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "provisioned-concurrency")
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    forget_everything()
    bootstrap.warm_ahead()
    monkeypatch.setenv("RADGATE_THREADS", "many")
    forget_everything()
    with pytest.raises(ValueError, match="RADGATE_THREADS"):
        bootstrap.warm_up()
    bootstrap.warm_ahead()


@pytest.mark.usefixtures("table")
def test_a_client_cannot_send_one() -> None:
    """What a request brings stands below API Gateway's own names in the event."""
    answer = FakeGateway(app).call("GET", "/health", headers=WARM_UP, query=WARM_UP)
    assert answer.json()["status"] == "up"
