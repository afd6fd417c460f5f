"""The identity that mail is sent as: SES knows a domain once for an account and Region.

One stage makes it, and others send by the same. It outlives the stage that made it for as long as
another sends by it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from admin_cli.console import CliError
from admin_cli.deploying.absent import tolerantly
from admin_cli.foundation import outputs_of, stack_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from admin_cli.deploying.stage_settings import StageSettings

_RESOURCE = "MailIdentity"  # in the foundation's template


def check_mail_identity(stage: str, settings: StageSettings) -> None:
    """Raise CliError for an identity that is another's, or is not there though it should be.

    CloudFormation would say so only after it has made the rest, and undo all of it. Raises
    botocore's errors.
    """
    domain = settings.mail_domain
    if domain is None:
        return
    found = _exists(domain)
    if settings.mail_identity == "existing" and not found:
        raise CliError(
            f"SES has no identity {domain} in this account and Region, which stage {stage} is to "
            'send by: deploy the stage that makes it first, or take mail_identity = "existing" out '
            "of stages.toml, so that this one makes it"
        )
    if settings.mail_identity == "new" and found and not _is_own(stage, domain):
        raise CliError(
            f"SES has an identity {domain} in this account and Region that stage {stage} has not "
            'made: write mail_identity = "existing" into stages.toml, so that it sends by that one'
        )


def remove_mail_identity(stage: str, domain: str, tell: Callable[[str], None]) -> None:
    """Delete the identity that the stack of a stage has made, unless another stage sends by it.

    One that was there before stays. Raises botocore's errors.
    """
    if not domain or not _is_own(stage, domain):
        return
    if others := sorted(sending_by(domain, stage)):
        tell(f"mail identity {domain} stays: stage {', '.join(others)} sends by it")
        return
    tell(f"deleting mail identity {domain}")
    client = boto3.client("sesv2")
    tolerantly(partial(client.delete_email_identity, EmailIdentity=domain))


def sending_by(domain: str, but: str) -> Iterator[str]:
    """Yield the stages of this account and Region, but for one, that send mail from a domain."""
    prefix = stack_name("")
    for page in boto3.client("cloudformation").get_paginator("describe_stacks").paginate():
        for stack in page["Stacks"]:
            name = stack["StackName"]
            if name.startswith(prefix) and outputs_of(stack).get("MailDomain") == domain:
                stage = name.removeprefix(prefix)
                if stage != but and stack["StackStatus"] != "DELETE_COMPLETE":
                    yield stage


def is_kept(stage: str, domain: str) -> bool:
    """Tell whether the identity outlives the stage and its data. Raises botocore's errors."""
    return not _is_own(stage, domain) or any(sending_by(domain, stage))


def _exists(domain: str) -> bool:
    client = boto3.client("sesv2")
    return tolerantly(partial(client.get_email_identity, EmailIdentity=domain)) is not None


def _is_own(stage: str, domain: str) -> bool:
    """Whether the stack of the stage has made it."""
    client = boto3.client("cloudformation")
    try:
        found = client.describe_stack_resource(
            StackName=stack_name(stage), LogicalResourceId=_RESOURCE
        )["StackResourceDetail"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        return False
    gone = found["ResourceStatus"] in {"DELETE_COMPLETE", "DELETE_SKIPPED"}
    return not gone and found.get("PhysicalResourceId") == domain
