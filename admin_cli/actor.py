"""Who is at work, for the audit trail."""

from __future__ import annotations

import getpass
from functools import cache
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from admin_cli.console import CliError


@cache
def actor(stage: str) -> str:
    """Return who runs this process: on AWS the identity that AWS has checked.

    On the local AWS nobody is checked, so it is the name of the user of this machine.
    Raises CliError when AWS does not say who it is: then nothing may be changed.
    """
    if stage == "local":
        try:
            return f"local:{getpass.getuser()}"
        except (OSError, KeyError):  # a container's user without a name
            return "local:unknown"
    client: Any = boto3.client("sts")
    try:
        return str(client.get_caller_identity()["Arn"])
    except (ClientError, BotoCoreError) as error:
        raise CliError(f"AWS does not say who you are: {type(error).__name__}") from error
