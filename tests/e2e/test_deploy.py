"""Deploy and destroy on the local AWS: twice is once, kills are repaired, data stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from admin_cli.console import CliError
from admin_cli.deploying import deployment
from admin_cli.deploying.data_removal import remove_data
from admin_cli.deploying.deploy_plan import deploy_changes
from admin_cli.deploying.deployment_record import read_deployment
from admin_cli.deploying.live_changes import check_changes
from admin_cli.deploying.network_change import release_mounts
from admin_cli.deploying.smoke import CLIENT_ID, smoke_test
from admin_cli.deploying.stage_config import ON_EFS, function_name
from admin_cli.deploying.stage_settings import stage_settings
from admin_cli.deploying.staging import MOUNT
from admin_cli.deploying.target import Target
from admin_cli.deploying.teardown import remove_functions, role_name
from admin_cli.deploying.teardown_plan import KEEP, REMOVE, destroy_changes
from admin_cli.foundation import apply_foundation, find_stack, read_foundation
from admin_cli.local.stack import install_packs
from admin_cli.stage import open_stage
from tests.e2e.staged import StagedRadgate
from tests.local_aws import own_local_aws

if TYPE_CHECKING:
    from collections.abc import Iterator

    from admin_cli.deploying.deployment_record import Deployment
    from admin_cli.deploying.foundation_plan import Change
    from admin_cli.foundation import Foundation

# Many whole deploys; a busy machine takes minutes for each.
pytestmark = pytest.mark.timeout(1800)
# As on AWS: a network, a file system on the functions that need it, alarms, mail.
STAGES = """
[local]
network = "new"
log_days = 7
mail_domain = "mail.example.org"
alarm_email = "operator@example.org"
throttle = { rate_per_second = 100, burst = 200 }
"""
HANDLERS = ("api_handler", "worker", "sweep", "deliver", "efs_sync")


class Killed(BaseException):
    """The process ends here: nothing may catch it."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A local AWS of its own, with this process pointed at it: these tests tear it down."""
    radgate = StagedRadgate.beside(tmp_path_factory.mktemp("deploy"), STAGES)
    environment = {"RADGATE_STAGES": str(radgate.stages), "RADGATE_HOME": str(radgate.home)}
    with own_local_aws(radgate.home, **environment) as home:
        yield home


def rolled_out(home: Path, told: list[str] | None = None) -> Deployment:
    told = [] if told is None else told
    foundation = apply_foundation("local", told.append)
    return deployment.deploy("local", foundation, home, told.append, force=False)


def outstanding(home: Path) -> list[Change]:
    """What a deploy would change; what it brings onto the mount has tests of its own."""
    mounted = {"runtime", "models"}
    return [one for one in deploy_changes("local", home) if one.step not in mounted]


def dies_after(words: str) -> Any:
    """A listener to progress that ends the process at the first line with these words."""

    def tell(text: str) -> None:
        if words in text:
            raise Killed(text)

    return tell


def state() -> str:
    """All that a deploy makes, in one comparable text."""
    gateway, functions = boto3.client("apigateway"), boto3.client("lambda")
    apis = gateway.get_rest_apis(limit=500)["items"]
    listed = functions.list_functions()["Functions"]
    wires = functions.list_event_source_mappings()["EventSourceMappings"]
    groups = boto3.client("logs").describe_log_groups()["logGroups"]
    whole = {
        "apis": [(api["id"], api["name"], api["binaryMediaTypes"]) for api in apis],
        "stages": [
            {**stage, "lastUpdatedDate": None}
            for api in apis
            for stage in gateway.get_stages(restApiId=api["id"])["item"]
        ],
        "functions": sorted(
            (
                one["FunctionName"],
                one["CodeSha256"],
                one["Environment"]["Variables"],
                one.get("FileSystemConfigs", []),
                one.get("VpcConfig", {}).get("SubnetIds", []),
            )
            for one in listed
        ),
        "wires": sorted((one["EventSourceArn"], one["FunctionArn"], one["UUID"]) for one in wires),
        "logs": sorted((one["logGroupName"], one.get("retentionInDays")) for one in groups),
        "record": read_deployment("radgate-local"),
    }
    return json.dumps(whole, default=str, sort_keys=True)


def test_a_deploy_makes_what_chalice_leaves_out(home: Path) -> None:
    rolled_out(home)
    assert len(boto3.client("apigateway").get_rest_apis(limit=500)["items"]) == 1
    names = {f["FunctionName"] for f in boto3.client("lambda").list_functions()["Functions"]}
    assert names == {function_name("local", name) for name in HANDLERS}
    assert_whole()


def assert_whole() -> None:
    """Mounts, network, retention, settings: what Chalice leaves out is there."""
    client = boto3.client("lambda")
    found = read_foundation("local")
    for name in HANDLERS:
        facts = client.get_function_configuration(FunctionName=function_name("local", name))
        mounts = [one["LocalMountPath"] for one in facts.get("FileSystemConfigs", [])]
        subnets = set(facts.get("VpcConfig", {}).get("SubnetIds", []))
        inside = {found.FunctionSubnetA, found.FunctionSubnetB}
        assert mounts == ([MOUNT] if name in ON_EFS else [])
        assert subnets == (inside if name in ON_EFS else set())
    record = read_deployment("radgate-local")
    assert record is not None
    gateway = boto3.client("apigateway")
    api = gateway.get_rest_api(restApiId=record.rest_api_id)
    assert (api["name"], api["binaryMediaTypes"]) == ("radgate-local", ["*/*"])
    assert api["minimumCompressionSize"] == 1024
    stage = gateway.get_stage(restApiId=record.rest_api_id, stageName="v1")
    assert stage["methodSettings"]["*/*"]["throttlingRateLimit"] == 100
    assert stage["accessLogSettings"]["destinationArn"].endswith(":/radgate/local/api")
    assert stage["deploymentId"] == record.gateway_deployment


def test_twice_is_once(home: Path) -> None:
    rolled_out(home)
    before, told = state(), list[str]()
    assert outstanding(home) == []
    assert state() == before
    rolled_out(home, told)
    assert state() == before
    assert told == [
        "stack radgate-local: no changes",
        "code, configuration and gateway are unchanged: nothing to deploy",
    ]


def test_drift_is_told_and_then_mended(home: Path) -> None:
    record = rolled_out(home)
    before = state()
    boto3.client("apigateway").update_stage(
        restApiId=record.rest_api_id,
        stageName="v1",
        patchOperations=[{"op": "replace", "path": "/*/*/throttling/burstLimit", "value": "7"}],
    )
    boto3.client("lambda").update_function_configuration(
        FunctionName="radgate-local-worker", FileSystemConfigs=[]
    )
    changes = {(change.step, change.what) for change in outstanding(home)}
    assert changes == {
        ("settings", "/*/*/throttling/burstLimit to 200"),
        ("mount", "models on function radgate-local-worker"),
    }
    rolled_out(home)
    assert state() == before


def test_the_smoke_test_asks_and_leaves_no_key(home: Path) -> None:
    record = rolled_out(home)
    install_packs(home, lambda _text: None)
    stage = open_stage("local")
    target = Target("local", stage_settings("local"), read_foundation("local"), home)
    url = target.direct_url(record.rest_api_id)
    assert smoke_test(stage, url, lambda _text: None).model == "cardionet@1"
    keys = stage.keyring.keys(CLIENT_ID)
    assert keys
    assert all(key.revoked_at is not None for key in keys)
    assert boto3.client("apigateway").get_api_keys()["items"] == []


# Lines of a `destroy`, in their order: each is printed before it is done.
TEARDOWN = (
    "Deleting Rest API",
    "Deleting function: ",
    "Deleting IAM role",
    "waiting for Lambda to remove 1 network interfaces",
)


def test_destroy_keeps_the_data_and_a_deploy_finds_it_again(home: Path) -> None:
    """In another network, to which no stage can move while its functions are there."""
    rolled_out(home)
    found = read_foundation("local")
    boto3.client("s3").put_object(Bucket=found.BucketName, Key="clients/a/kept", Body=b"kept")
    boto3.client("dynamodb").put_item(
        TableName=found.TableName, Item={"pk": {"S": "KEPT"}, "sk": {"S": "KEPT"}}
    )
    target = Target("local", stage_settings("local"), found, home)
    told_before = list(destroy_changes(target, data=False))
    assert {one.what for one in told_before if one.step == "functions"} == {
        *(f"function {function_name('local', name)}" for name in HANDLERS),
        *(f"role {role_name('local', name)}" for name in HANDLERS),
    }
    left = as_lambda_leaves(found)
    for words in TEARDOWN:
        with pytest.raises(Killed):
            remove_functions(target, dies_after(words))
    # Lambda removes the interface with them.
    assert roles() == {role_name("local", name) for name in ON_EFS}
    boto3.client("ec2").delete_network_interface(NetworkInterfaceId=left)
    with pytest.raises(Killed):
        remove_functions(target, dies_after("deleting the role of function"))
    for _ in range(2):
        remove_functions(target, lambda _text: None)
        assert boto3.client("lambda").list_functions()["Functions"] == []
        assert boto3.client("apigateway").get_rest_apis()["items"] == []
        wires = boto3.client("lambda").list_event_source_mappings()
        assert wires["EventSourceMappings"] == []
        assert boto3.client("events").list_rules()["Rules"] == []
        assert roles() == set()
    after = list(destroy_changes(target, data=False))
    assert {one.action for one in after} == {KEEP}
    assert after == [one for one in told_before if one.action == KEEP]
    move(home)
    rolled_out(home)
    assert_whole()
    moved = read_foundation("local")
    assert moved.FileSystemId == found.FileSystemId
    assert moved.FunctionSubnetA != found.FunctionSubnetA
    kept = boto3.client("s3").get_object(Bucket=found.BucketName, Key="clients/a/kept")
    assert kept["Body"].read() == b"kept"
    key = {"pk": {"S": "KEPT"}, "sk": {"S": "KEPT"}}
    assert "Item" in boto3.client("dynamodb").get_item(TableName=found.TableName, Key=key)


def roles() -> set[str]:
    """The functions' roles that are there."""
    found = {role["RoleName"] for role in boto3.client("iam").list_roles()["Roles"]}
    return found & {role_name("local", name) for name in HANDLERS}


def as_lambda_leaves(found: Foundation) -> str:
    """Make an interface of a function, which outlives it for a while on AWS; return its id."""
    made = boto3.client("ec2").create_network_interface(
        SubnetId=found.FunctionSubnetA, Groups=[found.FunctionSecurityGroupId]
    )
    return str(made["NetworkInterface"]["NetworkInterfaceId"])


def move(home: Path) -> None:
    """Have the stage be in a network that somebody has made; cut the move off in the middle."""
    ec2 = boto3.client("ec2")
    network = ec2.create_vpc(CidrBlock="10.9.0.0/24")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=network, CidrBlock=block, AvailabilityZone=zone)["Subnet"][
            "SubnetId"
        ]
        for block, zone in (
            ("10.9.0.0/25", "eu-central-1a"),
            ("10.9.0.128/25", "eu-central-1b"),
        )
    ]
    own = f'network = "existing"\nvpc_id = "{network}"\nsubnet_ids = {json.dumps(subnets)}'
    stages = StagedRadgate(home).stages
    stages.write_text(STAGES.replace('network = "new"', own), encoding="utf-8")
    settings = stage_settings("local")
    file_system = read_foundation("local").FileSystemId
    check_changes("local", settings)
    release_mounts("local", settings, lambda _text: None)
    client = boto3.client("efs")
    assert client.describe_mount_targets(FileSystemId=file_system)["MountTargets"] == []
    release_mounts("local", settings, lambda _text: None)
    apply_foundation("local")
    targets = client.describe_mount_targets(FileSystemId=file_system)["MountTargets"]
    assert {one["SubnetId"] for one in targets} == set(subnets)


def test_a_live_stage_keeps_its_network_and_its_name(home: Path) -> None:
    rolled_out(home)
    stages = StagedRadgate(home).stages
    before, text = state(), stages.read_text(encoding="utf-8")
    wrong = {
        STAGES.replace("new", 'new"\nvpc_cidr = "10.99.0.0/24'): "cannot move to another network",
        text.replace("[local]", '[local]\napi_stage = "v2"'): "clients call it by the name v1",
    }
    for changed, reason in wrong.items():
        stages.write_text(changed, encoding="utf-8")
        try:
            refused = StagedRadgate(home).run("deploy")
            assert (refused.returncode, refused.stdout) == (1, "")
            assert reason in refused.stderr
            assert "radgate --stage local destroy" in refused.stderr
            with pytest.raises(CliError, match=reason):
                deploy_changes("local", home)
        finally:
            stages.write_text(text, encoding="utf-8")
    assert state() == before


def test_tracing_goes_off_again(home: Path) -> None:
    """Chalice turns it on, but never off."""
    rolled_out(home)
    client = boto3.client("lambda")
    for name in HANDLERS:
        client.update_function_configuration(
            FunctionName=function_name("local", name), TracingConfig={"Mode": "Active"}
        )
    assert {change.step for change in outstanding(home)} == {"tracing"}
    rolled_out(home)
    modes = [one["TracingConfig"]["Mode"] for one in client.list_functions()["Functions"]]
    assert modes == ["PassThrough"] * len(HANDLERS)


def test_functions_that_nobody_wrote_down_are_removed_too(home: Path) -> None:
    rolled_out(home)
    found = read_foundation("local")
    target = Target("local", stage_settings("local"), found, home)
    remove_functions(target, lambda _text: None)
    with pytest.raises(Killed):  # Chalice has made functions and remembers none
        deployment.deploy("local", found, home, dies_after("Creating Rest API"), force=False)
    assert boto3.client("lambda").list_functions()["Functions"]
    remove_functions(target, lambda _text: None)
    assert boto3.client("lambda").list_functions()["Functions"] == []


def test_destroy_asks_for_the_stages_name(home: Path) -> None:
    planned = StagedRadgate(home).json("destroy", "--dry-run", "--data", "delete")
    assert {"step": "data", "action": "remove", "what": "0 API keys and 1 usage plans"} in planned
    refused = StagedRadgate(home).run("destroy")
    assert refused.returncode == 1
    assert "give --yes" in refused.stderr
    assert find_stack("local") is not None


@pytest.mark.usefixtures("home")
def test_the_data_goes_when_that_is_said() -> None:
    found = apply_foundation("local")
    boto3.client("s3").put_object(Bucket=found.BucketName, Key="clients/a/gone", Body=b"gone")
    boto3.client("logs").create_log_group(logGroupName="/aws/lambda/radgate-local-of-others")
    names = [function_name("local", name) for name in HANDLERS]
    target = Target("local", stage_settings("local"), found, Path())
    told = list(destroy_changes(target, data=True))
    assert {one.action for one in told} == {REMOVE}
    for _ in range(2):
        remove_data("local", found, names, lambda _text: None)
        assert find_stack("local") is None
        assert boto3.client("s3").list_buckets()["Buckets"] == []
        assert boto3.client("dynamodb").list_tables()["TableNames"] == []
        assert boto3.client("efs").describe_file_systems()["FileSystems"] == []
        assert boto3.client("sesv2").list_email_identities()["EmailIdentities"] == []
        groups = boto3.client("logs").describe_log_groups()["logGroups"]
        assert [one["logGroupName"] for one in groups] == ["/aws/lambda/radgate-local-of-others"]
    assert apply_foundation("local").TableName == found.TableName
