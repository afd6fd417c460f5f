"""A stage that moves to another network: new for existing, other subnets, another range.

Its file system is reached from one network at a time, and CloudFormation makes what is new before
it removes what is old. So the functions have to be gone, which `destroy` sees to, and then a deploy
takes the mount targets away before anything else. Files and data stay where they are.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import boto3

from admin_cli.console import CliError
from admin_cli.deploying.absent import tolerantly
from admin_cli.deploying.interfaces import Interfaces
from admin_cli.deploying.stage_config import ON_EFS, function_name
from admin_cli.foundation import STILLBORN, apply_foundation, find_stack, read_foundation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_cloudformation.type_defs import StackTypeDef

    from admin_cli.deploying.stage_settings import StageSettings

_PLACES = {
    "new": ("Network", "VpcCidr", "SubnetCidrA", "SubnetCidrB", "ZoneA", "ZoneB"),
    "existing": ("Network", "VpcId", "SubnetA", "SubnetB"),
}
_ALL = tuple(dict.fromkeys(name for names in _PLACES.values() for name in names))


def check_network(stage: str, settings: StageSettings, stack: StackTypeDef) -> None:
    """Raise CliError where a stage is to move while its functions are there, or in an unknown way.

    Raises botocore's errors.
    """
    if not moves(stage, settings, stack):
        return
    check_zones(stage, settings, stack)
    client = boto3.client("lambda")
    for name in sorted(ON_EFS):
        function = function_name(stage, name)
        if tolerantly(partial(client.get_function_configuration, FunctionName=function)):
            raise CliError(
                f"stage {stage} cannot move to another network while function {function} is in its "
                f"present one: `radgate --stage {stage} destroy` removes the functions and keeps "
                "the data, and the next deploy moves it; or put network, vpc_cidr, zones, vpc_id "
                "and subnet_ids of stages.toml back"
            )


def check_zones(stage: str, settings: StageSettings, stack: StackTypeDef) -> None:
    """Raise CliError for other zones in the same network.

    CloudFormation would make the new subnets beside the old ones, which have the addresses.
    """
    before, after = _parameters(stack), settings.parameters(stage)
    same = all(before.get(name) == after[name] for name in ("Network", "VpcCidr"))
    if same and after["Network"] == "new":
        raise CliError(
            f"stage {stage} cannot have other zones with the addresses of the present ones: "
            "give stages.toml another vpc_cidr along with zones, or put zones back"
        )


def release_mounts(stage: str, settings: StageSettings, tell: Callable[[str], None]) -> None:
    """Take the mount targets out of the present network where the stage moves to another.

    Killed after it, the next deploy mounts the file system again, in whichever network is wished
    by then. Raises CliError and botocore's errors.
    """
    stack = find_stack(stage)
    if stack is None or not moves(stage, settings, stack):
        return
    foundation = read_foundation(stage)
    Interfaces(boto3.client("ec2"), foundation.FunctionSecurityGroupId).await_removal(tell)
    tell("the network changes: taking the file system out of the present one")
    present = _parameters(stack)
    # A parameter that is newer than the stack had no say in it.
    still = {name: present.get(name, "") for name in _ALL}
    apply_foundation(stage, tell, {**still, "Mounted": "false"})


def moves(stage: str, settings: StageSettings, stack: StackTypeDef) -> bool:
    """Tell whether the stack has a network, and is to have another."""
    if stack["StackStatus"] in STILLBORN:
        return False
    before, after = _place(_parameters(stack)), _place(settings.parameters(stage))
    return None not in {before, after} and before != after


def _place(values: Mapping[str, str]) -> tuple[str, ...] | None:
    names = _PLACES.get(values.get("Network", "none"))
    return None if names is None else tuple(values.get(name, "") for name in names)


def _parameters(stack: StackTypeDef) -> dict[str, str]:
    given = stack.get("Parameters", [])
    return {one.get("ParameterKey", ""): one.get("ParameterValue", "") for one in given}
