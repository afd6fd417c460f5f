"""What is done to a stage as a whole, noted in its audit trail before it is done."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from admin_cli.actor import actor
from admin_cli.deploying.deployment_record import read_deployment
from admin_cli.deploying.network_change import release_mounts
from admin_cli.foundation import apply_foundation, find_stack, outputs_of
from admin_cli.stage import Stage
from chalicelib import aws
from chalicelib.tenants.audit import Change, Trail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from admin_cli.deploying.stage_settings import StageSettings
    from admin_cli.foundation import Foundation

_TOLD = ("rest_api_id", "deployed_at", "digest")


def note(stage: str, action: str, after: Mapping[str, object]) -> bool:
    """Note what is about to be done to a stage; False where there is no table to note it in.

    Told with what was deployed before. That is so before the first deploy, and once a `destroy`
    has taken the data, the trail among it. Raises CliError and StorageUnavailable.
    """
    name = outputs_of(find_stack(stage)).get("TableName")
    if name is None:
        return False
    table = aws.table(name)
    try:
        record = read_deployment(table.name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return False
    before = None if record is None else {name: asdict(record)[name] for name in _TOLD}
    change = Change(action, stage, None, before=before, after=dict(after))
    Trail(table, lambda: actor(stage), Stage.clock).commit(lambda: change)
    return True


def noted_foundation(
    stage: str,
    settings: StageSettings,
    wished: Mapping[str, object],
    tell: Callable[[str], None],
) -> Foundation:
    """Note a deploy, then make or change the foundation of its stage; return it.

    The first deploy is noted as soon as there is a table. Raises as `apply_foundation` does.
    """
    noted = note(stage, "stage.deploy", wished)
    release_mounts(stage, settings, tell)
    foundation = apply_foundation(stage, tell)
    if not noted:
        note(stage, "stage.deploy", wished)
    return foundation
