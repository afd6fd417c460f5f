"""Apply `.chalice/foundation.yaml`, the CloudFormation stack of what must outlive a deploy."""

from __future__ import annotations

import time
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict, ValidationError

from admin_cli.console import CliError
from admin_cli.deploying.stage_settings import stage_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.literals import CapabilityType
    from mypy_boto3_cloudformation.type_defs import ParameterTypeDef, StackTypeDef, TagTypeDef

TEMPLATE = Path(__file__).resolve().parents[1] / ".chalice" / "foundation.yaml"
WAIT_SECONDS = 1800  # a table with an index takes minutes on AWS, the later EFS mounts more
RETRY = Config(retries={"total_max_attempts": 8, "mode": "standard"})
# A stack in one of these was never whole: CloudFormation lets nothing be done to it but delete.
STILLBORN = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "REVIEW_IN_PROGRESS"}
CAPABILITIES: list[CapabilityType] = ["CAPABILITY_NAMED_IAM"]  # the data role has its own name
API_OUTPUT = "RestAPIId"  # only an emitted template's stack has it
_BEGUN = {"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"}


class Foundation(BaseModel):
    """The outputs of the stack, under the names that the template gives them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    BucketName: str
    BucketArn: str
    TableName: str
    TableArn: str
    QueueUrl: str
    QueueArn: str
    DeadLetterQueueUrl: str
    DeadLetterQueueArn: str
    BulkQueueUrl: str
    BulkQueueArn: str
    DeliveryQueueUrl: str
    DeliveryQueueArn: str
    DataRoleArn: str
    AlarmTopicArn: str = ""
    ApiLogArn: str = ""
    # Empty where the stage has none: stage local has no key of its own and, as a rule, no network.
    KeyArn: str = ""
    ApiLogRoleArn: str = ""
    FunctionSubnetA: str = ""
    FunctionSubnetB: str = ""
    FunctionSecurityGroupId: str = ""
    FileSystemId: str = ""
    AccessPointArn: str = ""
    MailDomain: str = ""
    MailConfigurationSet: str = ""

    @property
    def region(self) -> str:
        """The Region the stack lives in."""
        return self.TableArn.split(":")[3]

    @property
    def account(self) -> str:
        """The twelve digits of the account."""
        return self.TableArn.split(":")[4]

    @property
    def partition(self) -> str:
        """`aws`, `aws-cn` or `aws-us-gov`."""
        return self.TableArn.split(":")[1]


def stack_name(stage: str) -> str:
    """The CloudFormation stack of a stage."""
    return f"radgate-{stage}"


def apply_foundation(
    stage: str,
    tell: Callable[[str], None] = lambda _text: None,
    instead: Mapping[str, str] = MappingProxyType({}),
) -> Foundation:
    """Create the stack of `stage`, update it, or find nothing to do; wait; return its outputs.

    Safe to run again after a kill at any point: a stack under way is waited for, a stillborn one
    is deleted first, a table that is not protected yet becomes so. `tell` receives progress;
    `instead`: values of parameters in the place of those of stages.toml. Raises CliError with
    CloudFormation's reason.
    """
    client: CloudFormationClient = boto3.client("cloudformation", config=RETRY)
    name = stack_name(stage)
    try:
        stack = _settled(client, name)
        if stack is not None and stack["StackStatus"] in STILLBORN:
            tell(f"stack {name}: removing what a failed first attempt left")
            remove_stack(client, name)
            stack = _settled(client, name)
        refuse_emitted(stage, stack)
        good = {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
        if stack is None:
            tell(f"stack {name}: creating")
            _create(client, name, stage, instead, tell)
        elif _submit(client, name, stage, instead, create=False):
            tell(f"stack {name}: updating")
        else:
            tell(f"stack {name}: no changes")
            # An earlier update failed and was undone; what stands there is what is wanted.
            good.add("UPDATE_ROLLBACK_COMPLETE")
        stack = _settled(client, name)
        if stack is None or stack["StackStatus"] not in good:
            raise CliError(f"stack {name}: {_reason(client, name, stack)}")
    except (ClientError, BotoCoreError) as error:
        raise CliError(f"stack {name}: {error}") from error
    return _outputs(name, stack)


def find_stack(stage: str) -> StackTypeDef | None:
    """The stack of a stage as CloudFormation describes it, or None. Raises CliError."""
    client: CloudFormationClient = boto3.client("cloudformation", config=RETRY)
    try:
        return describe(client, stack_name(stage))
    except (ClientError, BotoCoreError) as error:
        raise CliError(f"stack {stack_name(stage)}: {error}") from error


def read_foundation(stage: str) -> Foundation:
    """The outputs of the stack of `stage`. Raises CliError when it is not there or not whole."""
    name, stack = stack_name(stage), find_stack(stage)
    if stack is None:
        raise CliError(f"stack {name} does not exist: deploy stage {stage} first")
    return _outputs(name, stack)


def delete_stack(stage: str, tell: Callable[[str], None]) -> None:
    """Delete the stack of a stage and wait for it; none is no error. Raises CliError."""
    client: CloudFormationClient = boto3.client("cloudformation", config=RETRY)
    name = stack_name(stage)
    try:
        if _settled(client, name) is None:
            return
        tell(f"stack {name}: deleting")
        remove_stack(client, name)
        stack = _settled(client, name)
        if stack is not None:
            raise CliError(f"stack {name}: {_reason(client, name, stack)}")
    except (ClientError, BotoCoreError) as error:
        raise CliError(f"stack {name}: {error}") from error


def remove_stack(client: CloudFormationClient, name: str) -> None:
    """Have a stack deleted that is there. Raises botocore's errors.

    One that failed as it was made is protected against it as well.
    """
    client.update_termination_protection(StackName=name, EnableTerminationProtection=False)
    client.delete_stack(StackName=name)


def stack_inputs(
    stage: str, instead: Mapping[str, str] = MappingProxyType({})
) -> tuple[list[ParameterTypeDef], list[TagTypeDef]]:
    """Parameters and tags of the stack of a stage. Raises CliError when its settings are amiss."""
    values = {**stage_settings(stage).parameters(stage), **instead}
    parameters: list[ParameterTypeDef] = [
        {"ParameterKey": name, "ParameterValue": value} for name, value in values.items()
    ]
    return parameters, [{"Key": "app", "Value": "radgate"}, {"Key": "stage", "Value": stage}]


def _create(
    client: CloudFormationClient,
    name: str,
    stage: str,
    instead: Mapping[str, str],
    tell: Callable[[str], None],
) -> None:
    """Create the stack, and protect its table once all of it is there.

    Protected from the start, it could not be taken away again where something after it fails: the
    next creation would find its name in use. Killed in between, the next update protects it.
    """
    if stage == "local":
        _submit(client, name, stage, instead, create=True)
        return
    _submit(client, name, stage, {**instead, "Protected": "false"}, create=True)
    stack = _settled(client, name)
    if stack is not None and stack["StackStatus"] == "CREATE_COMPLETE":
        tell(f"stack {name}: protecting the table")
        _submit(client, name, stage, instead, create=False)


def _submit(
    client: CloudFormationClient,
    name: str,
    stage: str,
    instead: Mapping[str, str],
    *,
    create: bool,
) -> bool:
    """Send the template; False when the stack already is as the template says."""
    template = TEMPLATE.read_text(encoding="utf-8")
    parameters, tags = stack_inputs(stage, instead)
    if create:
        client.create_stack(
            StackName=name,
            TemplateBody=template,
            Parameters=parameters,
            Tags=tags,
            Capabilities=CAPABILITIES,
            EnableTerminationProtection=stage != "local",
        )
        return True
    try:
        client.update_stack(
            StackName=name,
            TemplateBody=template,
            Parameters=parameters,
            Tags=tags,
            Capabilities=CAPABILITIES,
        )
    except ClientError as error:
        if "No updates are to be performed" in str(error):
            return False
        raise
    return True


def _settled(client: CloudFormationClient, name: str) -> StackTypeDef | None:
    """The stack once nothing is under way; None when it does not exist."""
    deadline = time.monotonic() + WAIT_SECONDS
    pause = 0.1  # the local AWS is done at once; AWS is asked every few seconds
    while True:
        stack = describe(client, name)
        if stack is None or not stack["StackStatus"].endswith("_IN_PROGRESS"):
            return stack
        if stack["StackStatus"] == "REVIEW_IN_PROGRESS":
            return stack  # a change set that nobody executed; it will not move by itself
        if time.monotonic() > deadline:
            raise CliError(f"stack {name} is still {stack['StackStatus']} after 30 minutes")
        time.sleep(pause)
        pause = min(pause * 2, 5)


def describe(client: CloudFormationClient, name: str) -> StackTypeDef | None:
    """The stack, or None when there is none. Raises botocore's errors."""
    try:
        stack = client.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return None if stack["StackStatus"] == "DELETE_COMPLETE" else stack


def outputs_of(stack: StackTypeDef | None) -> dict[str, str]:
    """The outputs of a stack by name; of one that is half made, or older, some are missing."""
    outputs = stack.get("Outputs", []) if stack else []
    return {one.get("OutputKey", ""): one.get("OutputValue", "") for one in outputs}


def refuse_emitted(stage: str, stack: StackTypeDef | None) -> None:
    """Raise CliError for a stack with functions and API in it, as an emitted template makes it.

    The foundation alone, put in its place, would take them away.
    """
    if API_OUTPUT in outputs_of(stack):
        raise CliError(
            f"stack {stack_name(stage)} was made with an emitted template: change or delete it by "
            f"that alone; after a change, `radgate --stage {stage} deploy --adopt`"
        )


def _reason(client: CloudFormationClient, name: str, stack: StackTypeDef | None) -> str:
    """Why the last operation failed: its first failure, as the later ones only follow from it."""
    if stack is None:
        return "gone"
    failure = ""
    for event in client.describe_stack_events(StackName=name)["StackEvents"]:  # newest first
        status = event.get("ResourceStatus", "")
        if status.endswith("_FAILED"):
            failure = f": {event.get('LogicalResourceId')}: {event.get('ResourceStatusReason')}"
        if event.get("PhysicalResourceId") == stack.get("StackId") and status in _BEGUN:
            break
    return stack["StackStatus"] + failure


def _outputs(name: str, stack: StackTypeDef) -> Foundation:
    try:
        return Foundation.model_validate(outputs_of(stack))
    except ValidationError as error:
        missing = ", ".join(str(problem["loc"][0]) for problem in error.errors())
        raise CliError(
            f"stack {name} lacks the outputs {missing}: deploy the stage again"
        ) from error
