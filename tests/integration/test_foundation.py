"""The foundation stack: safe by its template, applied as often as one likes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from moto import mock_aws
from moto.cloudformation.models import cloudformation_backends
from moto.cloudformation.parsing import OutputMap
from moto.core.models import DEFAULT_ACCOUNT_ID

from admin_cli import emulator, foundation
from admin_cli.console import CliError
from admin_cli.deploying.foundation_plan import Change, foundation_changes
from admin_cli.deploying.stage_config import function_name
from admin_cli.foundation import TEMPLATE, apply_foundation, read_foundation, stack_inputs

if TYPE_CHECKING:
    from collections.abc import Iterator

CHALICE = TEMPLATE.parent


class Killed(BaseException):
    """What ends a run in the middle."""


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty account, simulated in this process."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", emulator.REGION)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield


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


def resources() -> dict[str, Any]:
    """The template's resources; neither simulation creates all of what stands in them."""
    document, problems = import_module("cfnlint.decode").decode(str(TEMPLATE))
    assert not problems
    return dict(document["Resources"])


def test_the_bucket_is_closed_encrypted_and_forgets() -> None:
    bucket = resources()["Bucket"]["Properties"]
    blocked = bucket["PublicAccessBlockConfiguration"]
    assert blocked == dict.fromkeys(blocked, True)
    assert len(blocked) == 4
    rules = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    algorithm = rules[0]["ServerSideEncryptionByDefault"]["SSEAlgorithm"]
    assert algorithm == {"Fn::If": ["HoldsData", "aws:kms", "AES256"]}
    assert "VersioningConfiguration" not in bucket  # an old version would outlive an erasure
    lifecycle = bucket["LifecycleConfiguration"]["Rules"]
    expiry = {rule["Prefix"]: rule["ExpirationInDays"] for rule in lifecycle if "Prefix" in rule}
    assert expiry == {"clients/": 400, "uploads/": 1, "runtime/": 7}
    assert any("AbortIncompleteMultipartUpload" in rule for rule in lifecycle)
    statement = resources()["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"][0]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert len(statement["Resource"]) == 2  # the bucket and what is in it


def test_the_table_is_encrypted_restorable_and_protected() -> None:
    table = resources()["Table"]["Properties"]
    recovery = table["PointInTimeRecoverySpecification"]
    assert recovery == {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 7}
    encryption = table["SSESpecification"]
    assert encryption["SSEEnabled"]
    assert encryption["KMSMasterKeyId"]["Fn::If"][:2] == [
        "HoldsData",
        {"Fn::GetAtt": ["Key", "Arn"]},
    ]
    expiry = {"AttributeName": "expires_at_epoch", "Enabled": True}
    assert table["TimeToLiveSpecification"] == expiry
    assert table["DeletionProtectionEnabled"] == {"Fn::If": ["IsProtected", True, False]}


def test_what_holds_data_outlives_its_stack() -> None:
    for name in ("Table", "Bucket", "FileSystem", "Key", "MailIdentity"):
        holder = resources()[name]
        assert holder["DeletionPolicy"] == "RetainExceptOnCreate"
        assert holder["UpdateReplacePolicy"] == "Retain"


def test_each_exception_for_the_policy_scanner_has_its_reason() -> None:
    """`make check` runs the scanner; what it is told to pass over stands here with a reason."""
    skipped = {
        (name, skip["id"]): skip["comment"]
        for name, resource in resources().items()
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    }
    # Each was tried without: the scanner then objects to just these.
    queues = ("Queue", "BulkQueue", "DeliveryQueue", "DeadLetterQueue")
    assert set(skipped) == {
        ("Key", "CKV_AWS_33"),
        *(("Bucket", check) for check in ("CKV_AWS_18", "CKV_AWS_19", "CKV_AWS_21")),
        *((queue, "CKV_AWS_27") for queue in queues),
    }
    assert all(len(reason.split()) > 4 for reason in skipped.values())


def test_the_key_is_for_the_stages_roles_and_two_services() -> None:
    statements = {
        one["Sid"]: one for one in resources()["Key"]["Properties"]["KeyPolicy"]["Statement"]
    }
    for name, statement in statements.items():
        everyone = statement["Principal"] == {"AWS": "*"}
        assert everyone is (name == "Functions")
        assert statement["Action"] == "kms:*" or name != "Account"
    functions = statements["Functions"]["Condition"]
    assert functions["StringEquals"]["kms:CallerAccount"] == {"Ref": "AWS::AccountId"}
    assert len(functions["StringEquals"]["kms:ViaService"]) == 2
    role = functions["ArnLike"]["aws:PrincipalArn"]["Fn::Sub"]
    assert role.endswith(":role/radgate-${Stage}-*")


def test_the_key_is_for_the_log_groups_of_this_stage_alone() -> None:
    """`dev` is also how `dev2` begins."""
    policy = resources()["Key"]["Properties"]["KeyPolicy"]["Statement"]
    [logs] = [one for one in policy if one["Sid"] == "Logs"]
    patterns = [
        str(one["Fn::Sub"]).rpartition(":log-group:")[2].replace("${Stage}", "dev")
        for one in logs["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    ]
    functions = [path.stem.removeprefix("policy-dev-") for path in CHALICE.glob("policy-dev-*")]
    assert {"api_handler", "worker"} < set(functions)
    groups = [f"/aws/lambda/{function_name('dev', name)}" for name in functions]
    for group in ("/radgate/dev/api", *groups):
        assert any(fnmatchcase(group, pattern) for pattern in patterns)
        other = group.replace("dev", "dev2")
        assert not any(fnmatchcase(other, pattern) for pattern in patterns)


def test_the_network_has_no_way_in_or_out() -> None:
    kinds = {resource["Type"] for resource in resources().values()}
    ways = ("InternetGateway", "NatGateway", "Route", "VPCPeeringConnection")
    assert not kinds & {f"AWS::EC2::{way}" for way in ways}
    endpoints = {
        name: resource["Properties"]
        for name, resource in resources().items()
        if resource["Type"] == "AWS::EC2::VPCEndpoint"
    }
    services = {str(one["ServiceName"]["Fn::Sub"]).rpartition(".")[2] for one in endpoints.values()}
    assert services == {"s3", "dynamodb", "sqs", "sts"}
    for properties in endpoints.values():
        [statement] = properties["PolicyDocument"]["Statement"]
        assert "*" not in str(statement["Resource"]).replace("/*", "")
    for resource in resources().values():
        for rule in resource.get("Properties", {}).get("SecurityGroupIngress", []):
            assert "CidrIp" not in rule


def test_the_file_system_lets_in_readers_and_one_writer() -> None:
    policy = resources()["FileSystem"]["Properties"]["FileSystemPolicy"]["Statement"]
    writers = [one for one in policy if "elasticfilesystem:ClientWrite" in one["Action"]]
    [writer] = writers
    assert str(writer["Condition"]["ArnEquals"]["aws:PrincipalArn"]).count("-efs_sync") == 1
    assert "elasticfilesystem:ClientRootAccess" not in str(policy)
    point = resources()["AccessPoint"]["Properties"]
    assert point["PosixUser"]["Uid"] != "0"
    assert point["RootDirectory"]["CreationInfo"]["Permissions"] == "0750"


def test_every_alarm_is_told_to_somebody_and_forgives_silence() -> None:
    alarms = {
        name: resource["Properties"]
        for name, resource in resources().items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }
    watched = {f"{one['Namespace']} {one['MetricName']}" for one in alarms.values()}
    assert watched >= {
        "AWS/ApiGateway 5XXError",
        "AWS/ApiGateway Latency",
        "AWS/SQS ApproximateNumberOfMessagesVisible",
        "AWS/SQS ApproximateAgeOfOldestMessage",
        "AWS/Lambda Throttles",
        "AWS/EFS PercentIOLimit",
    }
    for properties in alarms.values():
        assert properties["AlarmActions"] == [{"Ref": "Alarms"}]
        assert properties["TreatMissingData"] == "notBreaching"


def test_the_dashboard_is_well_formed_and_shows_each_queue() -> None:
    """Neither cfn-lint nor the simulations read it; AWS refuses one that is broken."""
    text = str(resources()["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    assert {name.partition(".")[0] for name in re.findall(r"\$\{([^}]+)\}", text)} <= {
        *("AWS::Region", "Stage", "ApiStage", "Table"),
        *("Queue", "BulkQueue", "DeliveryQueue", "DeadLetterQueue"),
    }
    widgets = json.loads(text)["widgets"]
    assert all(widget["properties"]["metrics"] for widget in widgets)
    for queue in ("Queue", "BulkQueue", "DeliveryQueue", "DeadLetterQueue"):
        assert f"${{{queue}.QueueName}}" in text


def test_a_template_is_small_enough_to_be_sent() -> None:
    assert TEMPLATE.stat().st_size <= 51_200


def test_the_template_is_clean() -> None:
    lint = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([lint, TEMPLATE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> boto3.session.Session:
    """The session that clients come from, for a test that listens to their calls."""
    own = boto3.session.Session()
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", own)
    return own


@pytest.fixture
def local_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The local AWS, with this process pointed at it."""
    for name in ("AWS_ENDPOINT_URL", *emulator.LOCAL_CREDENTIALS):
        monkeypatch.setenv(name, "put back after the test")
    emulator.start(tmp_path)
    try:
        emulator.use_local_endpoint(tmp_path)
        yield
    finally:
        emulator.stop(tmp_path)


@pytest.mark.usefixtures("local_aws")
def test_the_local_aws_applies_it_too() -> None:
    told: list[str] = []
    assert apply_foundation("local", told.append) == apply_foundation("local", told.append)
    assert told[-1] == "stack radgate-local: no changes"
    table = boto3.client("dynamodb").describe_table(TableName=read_foundation("local").TableName)
    # The relaxed condition: a test's table may be deleted.
    assert not table["Table"]["DeletionProtectionEnabled"]


@pytest.mark.usefixtures("local_aws")
def test_a_table_that_a_killed_run_left_unprotected_is_protected_by_the_next(
    session: boto3.session.Session,
) -> None:
    """A stage that holds data, less its network, of which the local AWS lacks a type."""
    less = {"Network": "none"}

    def kill(**_: Any) -> None:
        raise Killed

    def protected() -> bool:
        table = boto3.client("dynamodb").describe_table(TableName="radgate-dev")["Table"]
        return table["DeletionProtectionEnabled"]

    session.events.register("before-call.cloudformation.UpdateStack", kill)
    with pytest.raises(Killed):
        apply_foundation("dev", instead=less)
    session.events.unregister("before-call.cloudformation.UpdateStack", kill)
    assert not protected()
    told: list[str] = []
    first = apply_foundation("dev", told.append, less)
    assert protected()
    assert apply_foundation("dev", told.append, less) == first
    assert told == ["stack radgate-dev: updating", "stack radgate-dev: no changes"]
    # `--dry-run` asks with the same ones, and so finds nothing to do either.
    [stack] = boto3.client("cloudformation").describe_stacks(StackName="radgate-dev")["Stacks"]
    present = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}
    wanted = {one["ParameterKey"]: one["ParameterValue"] for one in stack_inputs("dev", less)[0]}
    assert present == wanted


@pytest.mark.usefixtures("local_aws")
def test_the_local_aws_takes_network_mail_and_alarms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = tmp_path / "stages.toml"
    stages.write_text(
        '[local]\nnetwork = "new"\nmail_domain = "mail.example.org"\n'
        'alarm_email = "a@example.org"\n'
    )
    monkeypatch.setenv("RADGATE_STAGES", str(stages))
    made = apply_foundation("local")
    assert made.FunctionSubnetA != made.FunctionSubnetB
    assert made.AccessPointArn.rpartition("/")[2].startswith("fsap-")
    assert made.MailDomain == "mail.example.org"
    [file_system] = boto3.client("efs").describe_file_systems()["FileSystems"]
    assert file_system["Encrypted"]
    assert file_system["ThroughputMode"] == "elastic"
    names = {
        one["AlarmName"] for one in boto3.client("cloudwatch").describe_alarms()["MetricAlarms"]
    }
    assert "radgate-local-file-system" in names


@pytest.mark.usefixtures("local_aws")
def test_what_would_change_is_told_and_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert foundation_changes("local") == (Change("foundation", "create", "stack radgate-local"),)
    assert boto3.client("cloudformation").list_stacks()["StackSummaries"] == []
    apply_foundation("local")
    assert foundation_changes("local") == ()
    stages = tmp_path / "stages.toml"
    stages.write_text('[local]\nnetwork = "none"\nlog_days = 14\n')
    monkeypatch.setenv("RADGATE_STAGES", str(stages))
    changes = foundation_changes("local")
    assert Change("foundation", "modify", "ApiLog (AWS::Logs::LogGroup)") in changes
    assert {change.action for change in changes} == {"modify"}
    assert foundation_changes("local") == changes  # looking leaves nothing for the next look
    client = boto3.client("cloudformation")
    assert client.list_change_sets(StackName="radgate-local")["Summaries"] == []


NEVER_DONE = """
Resources:
  Handle: {Type: "AWS::CloudFormation::WaitConditionHandle"}
  Odd: {Type: "AWS::CloudFormation::WaitCondition", Properties: {Handle: !Ref Handle, Timeout: 1}}
"""


@pytest.mark.usefixtures("local_aws")
def test_a_failed_first_attempt_is_told_and_cleared_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed_with(NEVER_DONE, tmp_path, monkeypatch, reason="ROLLBACK_COMPLETE: Odd: ")
    told: list[str] = []
    assert apply_foundation("local", told.append).TableName == "radgate-local"
    assert told == [
        "stack radgate-local: removing what a failed first attempt left",
        "stack radgate-local: creating",
    ]


def test_a_failed_first_attempt_is_freed_of_its_protection_before_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stack is protected from the moment it is asked for, whatever becomes of it."""
    client: Any = boto3.client("cloudformation", region_name=emulator.REGION)
    monkeypatch.setattr(boto3, "client", lambda *_, **__: client)
    name = {"StackName": "radgate-dev"}
    failed = {**name, "StackStatus": "ROLLBACK_COMPLETE", "CreationTime": "2026-11-22T08:00:00Z"}
    with Stubber(client) as calls:
        calls.add_response("describe_stacks", {"Stacks": [failed]}, name)
        freed = {**name, "EnableTerminationProtection": False}
        calls.add_response("update_termination_protection", {}, freed)
        calls.add_response("delete_stack", {}, name)
        gone = "Stack with id radgate-dev does not exist"
        calls.add_client_error("describe_stacks", "ValidationError", gone, expected_params=name)
        made = dict.fromkeys(("TemplateBody", "Parameters", "Tags", "Capabilities"), ANY)
        wanted = {**name, **made, "EnableTerminationProtection": True}
        calls.add_client_error("create_stack", "LimitExceeded", expected_params=wanted)
        with pytest.raises(CliError, match="LimitExceeded"):
            apply_foundation("dev")
        calls.assert_no_pending_responses()


@pytest.mark.usefixtures("local_aws")
def test_a_failed_update_is_undone_and_does_not_stand_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = apply_foundation("local")
    added = NEVER_DONE.replace("Resources:", "")
    text = TEMPLATE.read_text(encoding="utf-8").replace("Resources:\n", f"Resources:\n{added}", 1)
    failed_with(text, tmp_path, monkeypatch, reason="UPDATE_ROLLBACK_COMPLETE: Odd: ")
    assert apply_foundation("local") == before


def failed_with(
    template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    path = tmp_path / "failing.yaml"
    path.write_text(template, encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(foundation, "TEMPLATE", path)
        with pytest.raises(CliError, match=reason) as caught:
            apply_foundation("local")
    assert "\n" not in caught.value.message
