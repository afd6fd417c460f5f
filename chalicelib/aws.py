"""The only boto3 session. Where AWS is, `AWS_ENDPOINT_URL` alone decides."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3 import S3Client

# A request has 29 s at the gateway. Three tries of at most 1 s + 5 s leave room to answer
# with an error of the contract instead of being cut off.
_REQUEST_PATH = Config(
    connect_timeout=1,
    read_timeout=5,
    retries={"total_max_attempts": 3, "mode": "standard"},
)
# Presigned URLs of signature version 2 are refused by newer regions (and not even checked
# by the local AWS).
_S3 = _REQUEST_PATH.merge(Config(signature_version="s3v4"))


@cache
def _session() -> boto3.session.Session:
    return boto3.session.Session()


@cache
def table(name: str) -> Table:
    """Return the DynamoDB table of that name; makes no call."""
    return _session().resource("dynamodb", config=_REQUEST_PATH).Table(name)


@cache
def s3() -> S3Client:
    """Return the S3 client; makes no call."""
    return _session().client("s3", config=_S3)
