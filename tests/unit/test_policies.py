"""What the functions may do: named actions on their own stage's resources, nothing else."""

from __future__ import annotations

import ast
import json
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from admin_cli.console import CliError
from admin_cli.deploying.staging import deploy_values, resolve
from admin_cli.foundation import Foundation
from chalicelib.aws import ClientSessions
from tests.e2e.forbidden import BEYOND, FORBIDDEN
from tests.unit.reach import everything, handlers, reached

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.unit.reach import Code

CHALICE = Path(__file__).resolve().parents[2] / ".chalice"
STAGES = ("local", "dev", "prod")
FUNCTIONS = ("api_handler", "worker", "sweep", "deliver", "efs_sync")
ACCOUNT = "111122223333"
MAIL_DOMAIN = "mail.example"
MAIL_IDENTITY = f"arn:aws:ses:eu-central-1:{ACCOUNT}:identity/{MAIL_DOMAIN}"
DATA_ROLE = f"arn:aws:iam::{ACCOUNT}:role/radgate-prod-data"


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
        DataRoleArn=f"arn:aws:iam::{ACCOUNT}:role/radgate-{stage}-data",
        MailDomain=MAIL_DOMAIN,
        MailConfigurationSet=f"radgate-{stage}",
    )


def resolved(stage: str, name: str) -> dict[str, Any]:
    values = deploy_values(foundation(stage), "/mnt/models")
    return dict(json.loads(resolve(CHALICE / name, values)))


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def statements(stage: str, function: str) -> list[dict[str, Any]]:
    return list(resolved(stage, f"policy-{stage}-{function}.json")["Statement"])


def allowed(stage: str, function: str) -> set[str]:
    return {
        action
        for s in statements(stage, function)
        if s["Effect"] == "Allow"
        for action in listed(s["Action"])
    }


EACH = pytest.mark.parametrize(
    ("stage", "function"), [(stage, function) for stage in STAGES for function in FUNCTIONS]
)


@EACH
def test_every_allowed_action_is_named(stage: str, function: str) -> None:
    assert all("*" not in action for action in allowed(stage, function))


# What a call in the code needs to be allowed. In a transaction each part is a call of its own.
NEEDED = {
    "assume_role": "sts:AssumeRole",
    "batch_get_item": "dynamodb:BatchGetItem",
    "copy_object": "s3:PutObject",  # and GetObject of what is copied
    "change_message_visibility": "sqs:ChangeMessageVisibility",
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
    "generate_presigned_post": "s3:PutObject",
    "get_object": "s3:GetObject",
    "head_object": "s3:GetObject",
    "list_objects_v2": "s3:ListBucket",
    "put_object": "s3:PutObject",
    "send_email": "ses:SendEmail",
    "send_message": "sqs:SendMessage",
    "send_raw_email": "ses:SendRawEmail",
}


def calls(codes: Iterable[Code]) -> set[str]:
    """Calls of AWS in the code: methods by name, presigned ones as text, parts of transactions."""
    found: set[str] = set()
    for node in (node for code in codes for node in code.walk()):
        match node:
            case ast.Call(func=ast.Attribute(attr=name)):
                found.add(name)
            case ast.Dict(keys=keys):
                found |= {str(key.value) for key in keys if isinstance(key, ast.Constant)}
        match node:
            case ast.Call(func=ast.Attribute(attr="generate_presigned_url"), args=[signed, *_]):
                found.add(str(signed.value) if isinstance(signed, ast.Constant) else "")
    return found & set(NEEDED)


# What Lambda itself does under a function's role, whatever its code does.
LOG = {"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"}
QUEUE = {"sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"}
BY_LAMBDA = {
    "api_handler": LOG,
    "worker": LOG | QUEUE,
    "sweep": LOG,
    "deliver": LOG | QUEUE,
    "efs_sync": LOG,
}
# Package trees belong to no client, so they are reached under the function's own role.
OWN_OBJECTS = {"efs_sync": {"s3:GetObject"}}


@EACH
def test_what_the_code_calls_is_allowed_and_nothing_else(stage: str, function: str) -> None:
    """A new call of AWS needs its permission here first; one that is gone must be taken back."""
    if function not in handlers():
        assert allowed(stage, function) <= BY_LAMBDA[function]
        return
    needed = {NEEDED[call] for call in calls(reached(function))}
    # Objects are reached under the data role, which the function may only assume.
    needed = {action for action in needed if not action.startswith("s3:")}
    needed |= OWN_OBJECTS.get(function, set())
    assert allowed(stage, function) == needed | BY_LAMBDA[function]


def sessions() -> ClientSessions:
    return ClientSessions(boto3.client("sts", region_name="eu-central-1"), DATA_ROLE, "b")


def data_role() -> dict[str, Any]:
    document, problems = import_module("cfnlint.decode").decode(str(CHALICE / "foundation.yaml"))
    assert not problems
    return dict(document["Resources"]["DataRole"]["Properties"])


def test_the_data_role_may_do_what_the_code_does_with_objects() -> None:
    called = {NEEDED[call] for call in calls(everything())}
    [policy] = data_role()["Policies"]
    role = policy["PolicyDocument"]["Statement"]
    session = json.loads(sessions().policy("acme"))["Statement"]
    objects = {action for action in called if action.startswith("s3:")}
    for document in (role, session):
        actions = {action for s in document for action in listed(s["Action"])}
        assert actions - {"kms:Decrypt", "kms:GenerateDataKey"} == objects
        assert all(s["Effect"] == "Allow" for s in document)


def test_a_session_reaches_one_clients_objects() -> None:
    objects, listing, keys = json.loads(sessions().policy("acme"))["Statement"]
    assert objects["Resource"] == ["arn:aws:s3:::b/clients/acme/*", "arn:aws:s3:::b/uploads/acme/*"]
    assert listing["Resource"] == "arn:aws:s3:::b"
    assert listing["Condition"] == {
        "StringLike": {"s3:prefix": ["clients/acme/*", "uploads/acme/*"]}
    }
    assert keys["Resource"] == f"arn:aws:kms:*:{ACCOUNT}:key/*"
    assert keys["Condition"] == {"StringLike": {"kms:ViaService": "s3.*"}}


@pytest.mark.parametrize("nobody", ["", "*", "a*", "acme/..", "Acme", "acme\n", "x" * 64])
def test_what_is_no_clients_id_makes_no_policy(nobody: str) -> None:
    with pytest.raises(ValueError, match="not a client's id"):
        sessions()(nobody)


def test_who_may_assume_the_data_role_is_who_is_allowed_to_ask() -> None:
    [statement] = data_role()["AssumeRolePolicyDocument"]["Statement"]
    trusted = statement["Condition"]["ArnEquals"]["aws:PrincipalArn"]
    named = {one["Fn::Sub"].rpartition("${Stage}-")[2] for one in trusted}
    assert named >= {f for f in FUNCTIONS if "sts:AssumeRole" in allowed("prod", f)}
    assert "deliver" not in named
    assert "efs_sync" not in named


def test_every_function_has_its_role() -> None:
    assert set(handlers()) <= set(FUNCTIONS)


def test_the_reading_of_the_code_finds_what_a_function_calls() -> None:
    """Guards the test above: were nothing found, everything would seem in order."""
    found = calls(reached("api_handler"))
    assert {"get_item", "batch_get_item", "query", "Put", "Update", "put_object"} <= found


@EACH
def test_every_resource_belongs_to_the_stage(stage: str, function: str) -> None:
    own = f"radgate-{stage}"
    for statement in statements(stage, function):
        assert "NotAction" not in statement
        assert "NotResource" not in statement
        for resource in listed(statement["Resource"]):
            if resource == MAIL_IDENTITY:  # the operator's domain, which stages may share
                continue
            name = resource.partition(":::")[2] or resource.split(":", 5)[5]
            assert own in name.partition("*")[0], resource
            assert not any(f"radgate-{other}" in resource for other in STAGES if other != stage)
            # What may vary is the log stream or the object below a fixed prefix, nothing before.
            assert resource.count("*") <= 1
            assert "*" not in resource or resource.endswith(("log-stream:*", "/*"))


@EACH
def test_no_function_can_touch_the_audit_trail(stage: str, function: str) -> None:
    """The trail and the pointers from a secret to its owner are the operator's to write."""
    if not any(action.startswith("dynamodb:") for action in allowed(stage, function)):
        return
    denied = {s["Sid"]: s for s in statements(stage, function) if s["Effect"] == "Deny"}
    keys = "dynamodb:LeadingKeys"
    audit = denied["NeverTheAuditTrail"]
    assert audit["Action"] == "dynamodb:*"
    assert audit["Condition"] == {"ForAnyValue:StringLike": {keys: ["AUDIT", "AUDIT#*"]}}
    pointers = denied["NeverAnotherPointerToAKey"]
    assert pointers["Condition"] == {"ForAnyValue:StringLike": {keys: ["HASH#*", "KEY#*"]}}
    for statement in denied.values():
        assert foundation(stage).TableArn in statement["Resource"]


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_has_its_policy_and_its_own_resources(stage: str) -> None:
    config = resolved(stage, "config.json")
    assert config["autogen_policy"] is False
    functions = config["stages"][stage]["lambda_functions"]
    assert {name: one["iam_policy_file"] for name, one in functions.items()} == {
        function: f"policy-{stage}-{function}.json" for function in FUNCTIONS
    }
    variables = config["environment_variables"] | config["stages"][stage]["environment_variables"]
    assert variables == {
        "RADGATE_STAGE": stage,
        "RADGATE_TABLE": f"radgate-{stage}",
        "RADGATE_BUCKET": foundation(stage).BucketName,
        "RADGATE_QUEUE_URL": foundation(stage).QueueUrl,
        "RADGATE_BULK_QUEUE_URL": foundation(stage).BulkQueueUrl,
        "RADGATE_DELIVERY_QUEUE_URL": foundation(stage).DeliveryQueueUrl,
        "RADGATE_DATA_ROLE": foundation(stage).DataRoleArn,
        "RADGATE_MAIL_FROM": f"radgate@{MAIL_DOMAIN}",
        "RADGATE_MAIL_CONFIGURATION_SET": f"radgate-{stage}",
        "MODEL_DIR": "/mnt/models",
    } | ({"RADGATE_WEBHOOK_LOOPBACK": "1"} if stage == "local" else {})


@pytest.mark.parametrize("stage", STAGES)
def test_only_deliver_mails_and_from_one_address_alone(stage: str) -> None:
    assert [f for f in FUNCTIONS if "ses:SendEmail" in allowed(stage, f)] == ["deliver"]
    [mail] = [s for s in statements(stage, "deliver") if s["Sid"] == "Mail"]
    assert mail["Condition"] == {"StringEquals": {"ses:FromAddress": f"radgate@{MAIL_DOMAIN}"}}
    assert mail["Resource"][0] == MAIL_IDENTITY


def test_without_a_domain_no_identity_can_be_mailed_from() -> None:
    values = deploy_values(foundation("prod").model_copy(update={"MailDomain": ""}), "/mnt/models")
    assert values["MailFrom"] == ""
    assert values["MailIdentity"].endswith(".invalid")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_stages_differ_in_their_names_alone(function: str) -> None:
    as_one = {
        (CHALICE / f"policy-{stage}-{function}.json").read_text().replace(f"radgate-{stage}", "X")
        for stage in STAGES
    }
    assert len(as_one) == 1


def test_a_value_that_the_stack_lacks_is_named(tmp_path: Path) -> None:
    path = tmp_path / "policy-x.json"
    path.write_text('{"Resource": "${NoSuch}"}')
    with pytest.raises(CliError, match="'NoSuch'"):
        resolve(path, {})


def test_a_policy_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"policy-x\.json is missing"):
        resolve(tmp_path / "policy-x.json", {})


def test_a_value_cannot_break_out_of_its_string(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"MODEL_DIR": "${ModelDir}"}')
    nasty = 'a"b\\c'
    assert json.loads(resolve(path, {"ModelDir": nasty})) == {"MODEL_DIR": nasty}


def test_the_document_lists_what_is_tried() -> None:
    text = (CHALICE.parent / "docs" / "security.md").read_text(encoding="utf-8")
    section = text.partition("## What is refused")[2]
    _heading, *rows = re.findall(r"^\| ([a-z0-9]+) \| (.+) \|$", section, re.MULTILINE)
    tried: dict[str, list[str]] = {}
    for service, words, _call in FORBIDDEN:
        tried.setdefault(service, []).append(words)
    assert dict(rows) == {service: "; ".join(words) for service, words in tried.items()}
    assert "; ".join(words for words, _call in BEYOND) in " ".join(text.split())
