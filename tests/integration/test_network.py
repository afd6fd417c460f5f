"""The network of functions on EFS: what its endpoints let through, and what is made of it."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document
from moto import mock_aws

from admin_cli import emulator
from admin_cli.deploying.stage_config import ON_EFS
from admin_cli.deploying.staging import MOUNT, deploy_values, resolve
from admin_cli.foundation import Foundation, apply_foundation
from chalicelib.aws import ClientSessions
from tests.local_aws import own_local_aws
from tests.unit.test_policies import CHALICE, listed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Logs leave a function by Lambda's own way, whatever network it is in; S3 asks for keys itself.
NOT_BY_THE_CODE = {"logs", "kms"}
# Lambda asks the queue itself and hands the messages over; nobody in the network does.
POLLING = {"sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"}
FOREIGN = {
    "s3": "arn:aws:s3:::somebody-elses-bucket",
    "dynamodb": "arn:aws:dynamodb:eu-central-1:999999999999:table/theirs",
    "sqs": "arn:aws:sqs:eu-central-1:999999999999:theirs",
    "sts": "arn:aws:iam::999999999999:role/theirs",
}


@dataclass(frozen=True)
class Network:
    """What the foundation of stage prod has made, on the simulation that knows most of it."""

    foundation: Foundation
    policies: dict[str, Any]  # of the endpoints, by service
    session: list[dict[str, Any]]  # what a function may do with one client's objects

    def lets_through(self, action: str, resource: str) -> bool:
        """Tell whether the endpoint of the action's service permits it, as IAM evaluates it."""
        service, account = action.partition(":")[0], self.foundation.account
        request = EvalContext(
            principal_arn=f"arn:aws:iam::{account}:role/radgate-prod-worker",
            principal_type="AssumedRole",
            principal_account=account,
            action=action,
            resource_arn=resource,
            region=self.foundation.region,
        )
        document = parse_policy_document(self.policies[service])
        return bool(evaluate(request, [document]).decision == "Allow")

    def calls(self) -> list[tuple[str, str]]:
        """Return what functions in the network may do, action and resource, by their policies."""
        values = deploy_values(self.foundation, MOUNT)
        statements = [*self.session]
        for function in ON_EFS:
            text = resolve(CHALICE / f"policy-prod-{function}.json", values)
            statements += json.loads(text)["Statement"]
        return sorted(
            (action, resource.replace("*", "x"))
            for one in statements
            for action in listed(one["Action"])
            for resource in listed(one["Resource"])
            if one["Effect"] == "Allow"
            and action.partition(":")[0] not in NOT_BY_THE_CODE
            and action not in POLLING
        )


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        patch.setenv("AWS_DEFAULT_REGION", emulator.REGION)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        with mock_aws():
            made = apply_foundation("prod")
            endpoints = boto3.client("ec2").describe_vpc_endpoints()["VpcEndpoints"]
            policies = {
                # The simulation gives a document as Python writes it, and not as JSON.
                one["ServiceName"].rpartition(".")[2]: ast.literal_eval(one["PolicyDocument"])
                for one in endpoints
            }
            sessions = ClientSessions(boto3.client("sts"), made.DataRoleArn, made.BucketName)
            yield Network(made, policies, json.loads(sessions.policy("acme"))["Statement"])


def test_every_call_of_a_function_passes_its_endpoint(network: Network) -> None:
    """Their policies say what they may do, and `test_policies` that their code does just that."""
    calls = network.calls()
    assert {action.partition(":")[0] for action, _ in calls} == set(network.policies)
    refused = [call for call in calls if not network.lets_through(*call)]
    assert refused == []


def test_nothing_of_anybody_elses_passes(network: Network) -> None:
    """Not by the role alone: credentials of another account would not be held by our roles."""
    passed = [
        (action, foreign)
        for action, resource in network.calls()
        for foreign in (
            FOREIGN[action.partition(":")[0]],
            f"{FOREIGN[action.partition(':')[0]]}/clients/acme/x",
            resource.replace("radgate-prod", "radgate-dev"),
        )
        if network.lets_through(action, foreign)
    ]
    assert passed == []


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:ListAllMyBuckets", "*"),
        ("dynamodb:ListTables", "*"),
        ("sqs:ListQueues", "*"),
        ("sts:GetCallerIdentity", "*"),
        ("sts:AssumeRole", "arn:aws:iam::123456789012:role/radgate-prod-worker"),
        ("sqs:PurgeQueue", "arn:aws:sqs:eu-central-1:123456789012:radgate-prod-jobs-dead"),
    ],
)
def test_what_is_no_functions_business_does_not_pass(
    network: Network, action: str, resource: str
) -> None:
    assert not network.lets_through(action, resource)


@pytest.fixture
def local_aws(tmp_path: Path) -> Iterator[Path]:
    """The local AWS, with this process pointed at it; settings are read from the file returned."""
    stages = tmp_path / "stages.toml"
    with own_local_aws(tmp_path, RADGATE_STAGES=str(stages)):
        yield stages


def test_a_new_network_is_private_and_in_two_zones(local_aws: Path) -> None:
    local_aws.write_text('[local]\nnetwork = "new"\nvpc_cidr = "10.9.0.0/24"\n', encoding="utf-8")
    made = apply_foundation("local")
    ec2 = boto3.client("ec2")
    subnets = ec2.describe_subnets(SubnetIds=[made.FunctionSubnetA, made.FunctionSubnetB])
    first, second = subnets["Subnets"]
    assert {first["CidrBlock"], second["CidrBlock"]} == {"10.9.0.0/25", "10.9.0.128/25"}
    assert first["AvailabilityZone"] != second["AvailabilityZone"]
    assert not first["MapPublicIpOnLaunch"]
    assert not second["MapPublicIpOnLaunch"]
    vpc = first["VpcId"]
    endpoints = [o for o in ec2.describe_vpc_endpoints()["VpcEndpoints"] if o["VpcId"] == vpc]
    kinds = {o["ServiceName"].rpartition(".")[2]: o["VpcEndpointType"] for o in endpoints}
    assert kinds == {"s3": "Gateway", "dynamodb": "Gateway", "sqs": "Interface", "sts": "Interface"}
    [table] = [
        one
        for one in ec2.describe_route_tables()["RouteTables"]
        if one["VpcId"] == vpc and any(not a.get("Main") for a in one["Associations"])
    ]
    both = {made.FunctionSubnetA, made.FunctionSubnetB}
    assert {a["SubnetId"] for a in table["Associations"]} == both
    ways = {route.get("GatewayId") for route in table["Routes"]}
    assert ways == {"local"}, "no way to the internet"
    for endpoint in endpoints:
        if endpoint["VpcEndpointType"] == "Gateway":
            assert endpoint["RouteTableIds"] == [table["RouteTableId"]]
        else:
            assert set(endpoint["SubnetIds"]) == both
    targets = boto3.client("efs").describe_mount_targets(FileSystemId=made.FileSystemId)
    assert {one["SubnetId"] for one in targets["MountTargets"]} == both
    [group] = ec2.describe_security_groups(GroupIds=[made.FunctionSecurityGroupId])[
        "SecurityGroups"
    ]
    assert group["VpcId"] == vpc


def test_an_existing_network_is_used_and_nothing_added_to_it(local_aws: Path) -> None:
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.8.0.0/24")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=block, AvailabilityZone=f"{emulator.REGION}{zone}")
        for block, zone in (("10.8.0.0/25", "a"), ("10.8.0.128/25", "b"))
    ]
    ids = [one["Subnet"]["SubnetId"] for one in subnets]
    before = len(ec2.describe_vpcs()["Vpcs"]), len(ec2.describe_route_tables()["RouteTables"])
    local_aws.write_text(
        f'[local]\nnetwork = "existing"\nvpc_id = "{vpc}"\nsubnet_ids = {json.dumps(ids)}\n',
        encoding="utf-8",
    )
    made = apply_foundation("local")
    assert [made.FunctionSubnetA, made.FunctionSubnetB] == ids
    now = len(ec2.describe_vpcs()["Vpcs"]), len(ec2.describe_route_tables()["RouteTables"])
    assert now == before
    assert ec2.describe_vpc_endpoints()["VpcEndpoints"] == []
    [group] = ec2.describe_security_groups(GroupIds=[made.FunctionSecurityGroupId])[
        "SecurityGroups"
    ]
    assert group["VpcId"] == vpc
    targets = boto3.client("efs").describe_mount_targets(FileSystemId=made.FileSystemId)
    assert [one["SubnetId"] for one in targets["MountTargets"]] == ids


# Types of the foundation that the local AWS cannot make, so its stage has none: the condition
# HoldsData leaves them out there. On AWS cfn-lint and the tests of the template vouch for them.
LACKING = {
    "AWS::EC2::SecurityGroupIngress": {"GroupId": "sg-1", "IpProtocol": "tcp"},
    "AWS::Budgets::Budget": {"Budget": {"BudgetType": "COST", "TimeUnit": "MONTHLY"}},
}


@pytest.mark.usefixtures("local_aws")
def test_what_the_local_aws_lacks_it_still_lacks() -> None:
    """When this fails, the local stage can have it too."""
    stacks = boto3.client("cloudformation")
    for kind, properties in LACKING.items():
        body = {"Resources": {"Lacking": {"Type": kind, "Properties": properties}}}
        with pytest.raises(ClientError, match=f"Unrecognized resource types: .{kind}"):
            stacks.create_stack(StackName="lacking", TemplateBody=json.dumps(body))
