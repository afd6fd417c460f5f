"""EFS on the functions that read models: what Chalice knows nothing of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from admin_cli.deploying.stage_config import ON_EFS
from admin_cli.deploying.staging import MOUNT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mypy_boto3_lambda import LambdaClient

    from admin_cli.foundation import Foundation


def mount(
    client: LambdaClient,
    functions: Mapping[str, str],
    foundation: Foundation,
    tell: Callable[[str], None],
) -> None:
    """Mount the file system on every function that reads it; one that has it is left alone.

    `functions`: names in config.json and on AWS. Without a file system, as on stage local, there
    is nothing to do. The mount survives later deploys. Raises botocore's errors.
    """
    for name in unmounted(client, functions, foundation):
        tell(f"mounting the models on function {name}")
        client.update_function_configuration(
            FunctionName=name,
            FileSystemConfigs=[{"Arn": foundation.AccessPointArn, "LocalMountPath": MOUNT}],
        )
        # The next change of a function is refused while one is under way.
        client.get_waiter("function_updated_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 2, "MaxAttempts": 150}
        )


def unmounted(
    client: LambdaClient, functions: Mapping[str, str], foundation: Foundation
) -> Iterable[str]:
    """The functions, as AWS names them, that read models and lack the mount."""
    if not foundation.AccessPointArn:
        return
    wanted = {(foundation.AccessPointArn, MOUNT)}
    for name in sorted(ON_EFS & functions.keys()):
        found = client.get_function_configuration(FunctionName=functions[name])
        mounts = found.get("FileSystemConfigs", [])
        if {(one["Arn"], one["LocalMountPath"]) for one in mounts} != wanted:
            yield functions[name]
