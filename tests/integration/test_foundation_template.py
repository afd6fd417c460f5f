"""The foundation's template: closed, encrypted, protected, told of."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any

from admin_cli.deploying.stage_config import function_name
from admin_cli.foundation import TEMPLATE

CHALICE = TEMPLATE.parent


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
