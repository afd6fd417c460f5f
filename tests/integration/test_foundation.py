"""The foundation stack on moto: applied as often as one likes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.cloudformation.models import cloudformation_backends
from moto.cloudformation.parsing import OutputMap
from moto.core.models import DEFAULT_ACCOUNT_ID

from admin_cli import emulator, foundation
from admin_cli.console import CliError
from admin_cli.foundation import TEMPLATE, apply_foundation, read_foundation

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.usefixtures("account")
def test_the_first_apply_creates_and_the_second_finds_nothing_to_do() -> None:
    told: list[str] = []
    first = apply_foundation("dev", told.append)
    assert apply_foundation("dev", told.append) == first == read_foundation("dev")
    assert told == [
        "stack radgate-dev: creating",
        "stack radgate-dev: protecting the table",
        "stack radgate-dev: no changes",
    ]
    assert first.TableName == "radgate-dev"
    assert (first.region, first.partition) == (emulator.REGION, "aws")
    assert first.BucketName == f"radgate-dev-{first.account}-{emulator.REGION}"


@pytest.mark.usefixtures("account")
def test_a_changed_template_updates_the_stack_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = apply_foundation("dev")
    changed = tmp_path / "foundation.yaml"
    text = TEMPLATE.read_text(encoding="utf-8")
    assert text.count("VisibilityTimeout: 960") == 2
    changed.write_text(text.replace("VisibilityTimeout: 960", "VisibilityTimeout: 961"))
    monkeypatch.setattr(foundation, "TEMPLATE", changed)
    told: list[str] = []
    assert apply_foundation("dev", told.append) == before
    assert told == ["stack radgate-dev: updating"]
    attributes = boto3.client("sqs").get_queue_attributes(
        QueueUrl=before.QueueUrl, AttributeNames=["VisibilityTimeout"]
    )
    assert attributes["Attributes"]["VisibilityTimeout"] == "961"


@pytest.mark.usefixtures("account")
def test_a_first_creation_that_fails_late_leaves_nothing_in_the_way(
    session: boto3.session.Session,
) -> None:
    """The simulation undoes nothing by itself; told to, it keeps a table that is protected.

    It cannot take a network away, which is left out here.
    """
    less = {"Network": "none"}

    def undo(**_: Any) -> None:
        simulated = cloudformation_backends[DEFAULT_ACCOUNT_ID][emulator.REGION]
        stack = simulated.get_stack("radgate-dev")
        assert boto3.client("dynamodb").list_tables()["TableNames"] == ["radgate-dev"]
        stack.resource_map.delete()
        stack.output_map = OutputMap(stack.resource_map, {}, stack.stack_id)  # it has none left
        stack.status = "ROLLBACK_COMPLETE"

    def accept(**_: Any) -> Any:
        """Answer in the place of the simulation, which protects no stack."""
        return SimpleNamespace(status_code=200), {}

    session.events.register("before-call.cloudformation.UpdateTerminationProtection", accept)
    session.events.register("after-call.cloudformation.CreateStack", undo)
    with pytest.raises(CliError, match="stack radgate-dev: ROLLBACK_COMPLETE"):
        apply_foundation("dev", instead=less)
    assert boto3.client("dynamodb").list_tables()["TableNames"] == []
    session.events.unregister("after-call.cloudformation.CreateStack", undo)
    told: list[str] = []
    assert apply_foundation("dev", told.append, less).TableName == "radgate-dev"
    assert told == [
        "stack radgate-dev: removing what a failed first attempt left",
        "stack radgate-dev: creating",
        "stack radgate-dev: protecting the table",
    ]


@pytest.mark.usefixtures("account")
def test_stages_share_nothing() -> None:
    first, second = apply_foundation("dev"), apply_foundation("prod")
    shared = set(first.model_dump().values()) & set(second.model_dump().values())
    assert shared <= {""}  # both have no mail


@pytest.mark.usefixtures("account")
def test_a_stage_that_was_never_deployed_is_named() -> None:
    with pytest.raises(CliError, match="stack radgate-dev does not exist"):
        read_foundation("dev")


@pytest.mark.usefixtures("account")
def test_a_stack_that_is_not_ours_is_told_by_its_missing_outputs() -> None:
    boto3.client("cloudformation").create_stack(
        StackName="radgate-dev",
        TemplateBody="Resources: {Q: {Type: AWS::SQS::Queue}}",
    )
    with pytest.raises(CliError, match="lacks the outputs BucketName"):
        read_foundation("dev")
