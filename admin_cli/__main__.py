"""Entry point: ``python -m admin_cli`` and, by way of `entry`, ``radgate``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

import typer
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from admin_cli.cli import app
from admin_cli.console import CliError
from admin_cli.entry import lacking
from chalicelib.errors import RadgateError

if TYPE_CHECKING:
    from collections.abc import Sequence

# What is missing on this machine before AWS can be asked anything, and what to do about it.
_REMEDIES: dict[type, str] = {
    NoRegionError: "no Region: set AWS_DEFAULT_REGION or AWS_PROFILE",
    NoCredentialsError: (
        "no credentials for AWS: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    ),
    PartialCredentialsError: (
        "half of the credentials for AWS: set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    ),
    ProfileNotFound: "no such profile in the configuration of AWS: set AWS_PROFILE to one there is",
}


def run(args: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status: 0, 1 (refused) or 2 (wrong usage)."""
    if refusal := lacking():
        typer.echo(f"radgate: {refusal}", err=True)
        return 1
    try:
        status = app(args, prog_name="radgate", standalone_mode=False)
    except typer.TyperException as error:
        # No arguments at all: the help was shown and there is no more to say.
        # "Value error" is the library's word for a value that is none of the choices.
        message, status = error.format_message().replace("Value error, ", ""), error.exit_code
    except (CliError, RadgateError, ClientError, BotoCoreError, typer.Abort) as error:
        message, status = explain(error), 1
    else:
        return status if isinstance(status, int) else 0
    if message:
        typer.echo("radgate: " + " ".join(message.split()), err=True)
    return status


def explain(error: Exception) -> str:
    """Return in plain words what went wrong, without anything that was sent."""
    if isinstance(error, CliError):
        # What is missing here comes before where it was missed, such as at a stack.
        return _REMEDIES.get(type(error.__cause__), error.message)
    if isinstance(error, RadgateError):
        # The detail is written for clients; an operator is also told what lies behind it.
        cause = error.__cause__
        return (
            f"{error.detail} ({explain(cause)})" if isinstance(cause, Exception) else error.detail
        )
    if isinstance(error, ClientError):
        # Only the operation's name and the code: AWS's message may repeat what was sent.
        code = error.response.get("Error", {}).get("Code", "unknown")
        return f"AWS refused {error.operation_name}: {code}"
    if isinstance(error, typer.Abort):
        return "aborted"
    return _REMEDIES.get(type(error), f"AWS cannot be reached: {type(error).__name__}")


def main() -> NoReturn:
    """Run the process's own arguments and exit."""
    sys.exit(run())


if __name__ == "__main__":
    main()
