"""The emitted template: CloudFormation makes a stage of it that answers.

That cfn-lint accepts it stands in tests/integration/admin_cli/test_emitted_stages.py.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest

from admin_cli.deploying.deployment_record import read_deployment
from admin_cli.deploying.emit_plans import clients_to_plan
from admin_cli.deploying.smoke import phantom
from admin_cli.local.iam import SWITCH
from tests.e2e.staged import WARM, StagedRadgate
from tests.local_aws import own_local_aws

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# One deploy with torch on the mount; a busy machine takes minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
CODE = "code-of-the-pipeline"
STACK = "radgate-local"
LONG = 1800


class Emitting(StagedRadgate):
    """The command line on a stage with a file system, and an operator's own pipeline."""

    def emit(self, name: str) -> tuple[Path, str]:
        """Return the folder of an emitted template, and what the command said."""
        folder = self.home.parent / name
        done = self.run("deploy", "--emit", str(folder), timeout=LONG)
        assert done.returncode == 0, done.stderr
        return folder, done.stderr


@pytest.fixture(scope="module")
def radgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emitting]:
    """A local AWS of its own, with this process pointed at it."""
    radgate = Emitting.beside(tmp_path_factory.mktemp("emitted"), WARM)
    enforcing = {SWITCH: "1"}  # each function under its own role
    with own_local_aws(radgate.home, RADGATE_HOME=str(radgate.home), **enforcing):
        yield radgate


def apply(folder: Path, *, create: bool) -> dict[str, str]:
    """Create or update the stack from a bucket, as a pipeline does; return its outputs."""
    s3, stacks = boto3.client("s3"), boto3.client("cloudformation")
    [package] = folder.glob("*.zip")
    s3.upload_file(str(package), CODE, package.name)
    s3.upload_file(str(folder / "template.json"), CODE, "template.json")
    wanted: dict[str, Any] = {
        "StackName": STACK,
        "TemplateURL": f"{s3.meta.endpoint_url}/{CODE}/template.json",
        "Capabilities": ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Parameters": [
            {"ParameterKey": "CodeBucket", "ParameterValue": CODE},
            {"ParameterKey": "CodeKey", "ParameterValue": package.name},
        ],
    }
    (stacks.create_stack if create else stacks.update_stack)(**wanted)
    deadline = time.monotonic() + 300
    while True:
        stack = stacks.describe_stacks(StackName=STACK)["Stacks"][0]
        if not stack["StackStatus"].endswith("_IN_PROGRESS"):
            break
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert stack["StackStatus"] == f"{'CREATE' if create else 'UPDATE'}_COMPLETE"
    return {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}


def test_a_stage_is_made_of_it_and_adopted(radgate: Emitting) -> None:
    folder, said = radgate.emit("first")
    assert "no usage plans in the template" in said
    template = json.loads((folder / "template.json").read_text(encoding="utf-8"))
    kinds = {one["Type"] for one in template["Resources"].values()}
    assert {"AWS::EFS::MountTarget", "AWS::Lambda::Alias", "AWS::Events::Rule"} <= kinds
    boto3.client("s3").create_bucket(
        Bucket=CODE, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    outputs = apply(folder, create=True)
    assert radgate.run("clients", "list").returncode == 1, "nobody has recorded the API yet"
    adopted = radgate.json("deploy", "--adopt", timeout=LONG)
    assert adopted["rest_api_id"] == outputs["RestAPIId"]
    assert adopted["smoke_test"]["model"] == "cardionet@1"
    alias = boto3.client("lambda").get_alias(FunctionName=STACK, Name="live")
    assert alias["FunctionVersion"] == "1"


def test_keys_are_issued_and_open_it(radgate: Emitting) -> None:
    radgate.json(
        *("clients", "create", "acme", "--name", "Acme"),
        *("--email", "it@acme.example", "--plan", "clinic"),
    )
    secret = radgate.json("keys", "issue", "acme")["secret"]
    record = read_deployment(STACK)
    assert record is not None
    url = record.api_url
    headers = {"x-api-key": secret, "content-type": "image/png"}
    answer = httpx.post(f"{url}/xray", content=phantom(), headers=headers, timeout=300)
    # A drawing need not pass for a radiograph, but it was decoded and judged.
    assert answer.status_code in {200, 202, 422}, answer.text
    refused = httpx.get(f"{url}/account", headers={"x-api-key": "nobody"}, timeout=60)
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_or_unknown_key")


def planned() -> str:
    """Return what an emit would say of usage plans."""
    told: list[str] = []
    clients_to_plan("local", told.append)
    return " ".join(told)


def test_lost_usage_plans_come_back_by_the_template(radgate: Emitting) -> None:
    """As in another Region, where the table was restored and API Gateway knows nobody."""
    assert planned() == "usage plans in the template: 0 of 2 clients", "they have them already"
    gateway = boto3.client("apigateway")
    [lost] = [p["id"] for p in gateway.get_usage_plans()["items"] if p["name"].endswith("-acme")]
    gateway.delete_usage_plan(usagePlanId=lost)
    folder, said = radgate.emit("second")
    assert "1 of 2 clients" in said
    apply(folder, create=False)
    [plan] = [p for p in gateway.get_usage_plans()["items"] if p["name"].endswith("-acme")]
    radgate.json("deploy", "--adopt", timeout=LONG)
    assert radgate.json("clients", "show", "acme")["usage_plan_id"] == plan["id"]
    assert radgate.json("doctor")["found"] == []
    assert planned() in said, "the stack keeps what it made"


@pytest.mark.parametrize("command", [("deploy",), ("deploy", "--dry-run"), ("destroy", "--yes")])
def test_no_deploy_touches_it(radgate: Emitting, command: tuple[str, ...]) -> None:
    refused = radgate.run(*command)
    assert refused.returncode == 1
    assert "was made with an emitted template" in refused.stderr
    functions = {
        one["FunctionName"] for one in boto3.client("lambda").list_functions()["Functions"]
    }
    assert STACK in functions
