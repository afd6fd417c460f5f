"""Calls for what may be gone: an earlier run that was killed, or somebody else, has removed it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
# How AWS's services say that something is not there.
GONE = frozenset(
    {
        "FileSystemNotFound",
        "NoSuchBucket",
        "NoSuchEntity",
        "NotFoundException",
        "ProvisionedConcurrencyConfigNotFoundException",
        "ResourceNotFoundException",
        "TableNotFoundException",
    }
)


def tolerantly(call: Callable[[], T], *also: str) -> T | None:
    """Return what the call returns, None where what it is about is gone.

    `also`: further codes of errors that mean so. Raises botocore's other errors.
    """
    try:
        return call()
    except ClientError as error:
        if error.response["Error"]["Code"] not in GONE.union(also):
            raise
        return None
