"""What the functions may do: named actions on their own stage's resources, nothing else."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from admin_cli.console import CliError
from admin_cli.foundation import Foundation
from admin_cli.staging import deploy_values, resolve

CHALICE = Path(__file__).resolve().parents[2] / ".chalice"
STAGES = ("local", "dev", "prod")
ACCOUNT = "111122223333"


def foundation(stage: str) -> Foundation:
    sqs = f"arn:aws:sqs:eu-central-1:{ACCOUNT}:radgate-{stage}-jobs"
    url = f"https://sqs.eu-central-1.amazonaws.com/{ACCOUNT}/radgate-{stage}-jobs"
    bucket = f"radgate-{stage}-{ACCOUNT}-eu-central-1"
    return Foundation(
        BucketName=bucket,
        BucketArn=f"arn:aws:s3:::{bucket}",
        TableName=f"radgate-{stage}",
        TableArn=f"arn:aws:dynamodb:eu-central-1:{ACCOUNT}:table/radgate-{stage}",
        QueueUrl=url,
        QueueArn=sqs,
        DeadLetterQueueUrl=f"{url}-dead",
        DeadLetterQueueArn=f"{sqs}-dead",
        BulkQueueUrl=f"{url}-bulk",
        BulkQueueArn=f"{sqs}-bulk",
        DeliveryQueueUrl=url.replace("-jobs", "-deliveries"),
        DeliveryQueueArn=sqs.replace("-jobs", "-deliveries"),
    )


def resolved(stage: str, name: str) -> dict[str, Any]:
    values = deploy_values(foundation(stage), "/mnt/models")
    return dict(json.loads(resolve(CHALICE / name, values)))


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def statements(stage: str) -> list[dict[str, Any]]:
    return list(resolved(stage, f"policy-{stage}.json")["Statement"])


@pytest.mark.parametrize("stage", STAGES)
def test_every_action_is_named(stage: str) -> None:
    actions = [action for s in statements(stage) for action in listed(s["Action"])]
    assert all("*" not in action for action in actions)
    assert {action.partition(":")[0] for action in actions} == {"dynamodb", "logs", "s3"}


# What a call in the code needs to be allowed. In a transaction each part is a call of its own.
NEEDED = {
    "batch_get_item": "dynamodb:BatchGetItem",
    "delete_item": "dynamodb:DeleteItem",
    "get_item": "dynamodb:GetItem",
    "put_item": "dynamodb:PutItem",
    "query": "dynamodb:Query",
    "scan": "dynamodb:Scan",
    "update_item": "dynamodb:UpdateItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
    "Delete": "dynamodb:DeleteItem",
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "delete_object": "s3:DeleteObject",
    "get_object": "s3:GetObject",
    "list_objects_v2": "s3:ListBucket",
    "put_object": "s3:PutObject",
    "send_message": "sqs:SendMessage",
}


def calls(tree: ast.AST) -> set[str]:
    """Calls of AWS in the code: methods by name, presigned ones as text, parts of transactions."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name)):
                found.add(name)
            case ast.Dict(keys=keys):
                found |= {str(key.value) for key in keys if isinstance(key, ast.Constant)}
        match node:
            case ast.Call(func=ast.Attribute(attr="generate_presigned_url"), args=[signed, *_]):
                found.add(str(signed.value) if isinstance(signed, ast.Constant) else "")
    return found & set(NEEDED)


@pytest.mark.parametrize("stage", STAGES)
def test_what_the_code_calls_is_allowed_and_nothing_else(stage: str) -> None:
    """A new call of AWS needs its permission here first; one that is gone must be taken back."""
    files = [*(CHALICE.parent / "chalicelib").rglob("*.py"), CHALICE.parent / "app.py"]
    called = {call for file in files for call in calls(ast.parse(file.read_text("utf-8")))}
    allowed = {action for s in statements(stage) for action in listed(s["Action"])}
    own_log = {"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"}
    assert {NEEDED[call] for call in called} | own_log == allowed


@pytest.mark.parametrize("stage", STAGES)
def test_every_resource_belongs_to_the_stage(stage: str) -> None:
    own = f"radgate-{stage}"
    for statement in statements(stage):
        assert statement["Effect"] == "Allow"
        assert "NotAction" not in statement
        assert "NotResource" not in statement
        for resource in listed(statement["Resource"]):
            name = resource.partition(":::")[2] or resource.split(":", 5)[5]
            assert own in name.partition("*")[0], resource
            assert not any(f"radgate-{other}" in resource for other in STAGES if other != stage)
            # What may vary is the log stream or the object below a fixed prefix, nothing before.
            assert resource.count("*") <= 1
            assert "*" not in resource or resource.endswith(("log-stream:*", "/*"))


@pytest.mark.parametrize("stage", STAGES)
def test_objects_are_reached_by_name_only_and_below_one_prefix(stage: str) -> None:
    objects = [s for s in statements(stage) if any("s3:" in a for a in listed(s["Action"]))]
    reached = {resource for s in objects for resource in listed(s["Resource"])}
    assert reached == {f"{foundation(stage).BucketArn}/clients/*"}


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_has_its_policy_and_its_own_resources(stage: str) -> None:
    config = resolved(stage, "config.json")
    assert config["autogen_policy"] is False
    assert config["stages"][stage]["iam_policy_file"] == f"policy-{stage}.json"
    variables = config["environment_variables"] | config["stages"][stage]["environment_variables"]
    assert variables == {
        "RADGATE_STAGE": stage,
        "RADGATE_TABLE": f"radgate-{stage}",
        "RADGATE_BUCKET": foundation(stage).BucketName,
        "RADGATE_QUEUE_URL": foundation(stage).QueueUrl,
        "RADGATE_BULK_QUEUE_URL": foundation(stage).BulkQueueUrl,
        "RADGATE_DELIVERY_QUEUE_URL": foundation(stage).DeliveryQueueUrl,
        "MODEL_DIR": "/mnt/models",
    }


def test_stages_differ_in_their_names_alone() -> None:
    as_one = {
        (CHALICE / f"policy-{stage}.json").read_text().replace(f"radgate-{stage}", "radgate-X")
        for stage in STAGES
    }
    assert len(as_one) == 1


def test_a_value_that_the_stack_lacks_is_named(tmp_path: Path) -> None:
    path = tmp_path / "policy-x.json"
    path.write_text('{"Resource": "${NoSuch}"}')
    with pytest.raises(CliError, match="'NoSuch'"):
        resolve(path, {})


def test_a_stage_without_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"policy-x\.json is missing"):
        resolve(tmp_path / "policy-x.json", {})


def test_a_value_cannot_break_out_of_its_string(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"MODEL_DIR": "${ModelDir}"}')
    nasty = 'a"b\\c'
    assert json.loads(resolve(path, {"ModelDir": nasty})) == {"MODEL_DIR": nasty}
