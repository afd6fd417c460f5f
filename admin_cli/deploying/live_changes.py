"""Changes of `stages.toml` that a stage cannot take, refused before anything of it is changed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import boto3

from admin_cli.console import CliError
from admin_cli.deploying.absent import tolerantly
from admin_cli.deploying.deployment_record import read_deployment
from admin_cli.deploying.mail_identity import check_mail_identity
from admin_cli.deploying.network_change import check_network
from admin_cli.foundation import STILLBORN, find_stack, outputs_of, refuse_emitted, stack_name
from admin_cli.gateway import gateway_client

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import StackTypeDef

    from admin_cli.deploying.deployment_record import Deployment
    from admin_cli.deploying.stage_settings import StageSettings


def check_changes(stage: str, settings: StageSettings) -> None:
    """Raise CliError that says what to do instead, and botocore's errors.

    That is for another name of the API's stage, a private API that is to be an edge one, another
    network while functions are in the present one, a mail identity that is another's, a stage that
    an emitted template has made, and one that stands in another Region.
    """
    stack = find_stack(stage)
    refuse_emitted(stage, stack)
    if stack is None:
        check_region(stage)
    check_mail_identity(stage, settings)
    if stack is None or stack["StackStatus"] in STILLBORN:
        return
    check_network(stage, settings, stack)
    _check_api(stage, settings, stack)


def check_region(stage: str) -> None:
    """Raise CliError where the roles of a stage are there, though its stack is not.

    IAM's names hold in all Regions, so CloudFormation would fail half way, and Chalice would give
    the other Region's functions the rights of this one's. Raises botocore's errors.
    """
    role = f"{stack_name(stage)}-data"
    if tolerantly(partial(boto3.client("iam").get_role, RoleName=role)) is not None:
        raise CliError(
            f"this account has a role {role}, but no stack {stack_name(stage)} in this Region: "
            f"stage {stage} is deployed in another one, and roles bear the same names in all of "
            "them; deploy to another account, or under the name of another stage"
        )


def _check_api(stage: str, settings: StageSettings, stack: StackTypeDef) -> None:
    table = outputs_of(stack).get("TableName")
    record = tolerantly(partial(read_deployment, table)) if table else None
    if record is None:
        return
    known = gateway_client()
    api = tolerantly(partial(known.get_rest_api, restApiId=record.rest_api_id))
    if api is None:
        return
    _check_api_stage(stage, settings, record)
    # API Gateway knows this change only in two steps; Chalice would fail half way.
    if settings.endpoint == "edge" and api["endpointConfiguration"]["types"] == ["PRIVATE"]:
        raise CliError(
            f"the API of stage {stage} is private, and API Gateway makes no private API an edge "
            'one: deploy with endpoint = "regional" first, then with "edge"'
        )


def _check_api_stage(stage: str, settings: StageSettings, record: Deployment) -> None:
    """Clients call the API by this name; another one would leave the first to itself."""
    if record.api_stage == settings.api_stage:
        return
    raise CliError(
        f"stage {stage} answers at {record.api_url}, and clients call it by the name "
        f'{record.api_stage}: put api_stage = "{record.api_stage}" back into stages.toml, or take '
        f"the API down with `radgate --stage {stage} destroy`, which keeps clients, keys and "
        "studies; the next deploy makes it under another address"
    )
