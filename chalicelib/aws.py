"""The only boto3 session. Where AWS is, `AWS_ENDPOINT_URL` alone decides."""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from cachetools import TLRUCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sesv2 import SESV2Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sts import STSClient

# From this release on PutObject takes `IfMatch`: no slow worker overwrites another's report.
OLDEST_BOTOCORE = (1, 35, 69)

_log = logging.getLogger(__name__)


class OldBotocoreError(RuntimeError):
    """The botocore of this runtime is older than what the code needs."""


def check_botocore(version: str) -> None:
    """Raise OldBotocoreError, and say so in the log, for a version that is too old.

    Our package has no botocore. Lambda's runtime brings one along; which one is not ours to say.
    """
    if tuple(int(part) for part in re.findall(r"[0-9]+", version)[:3]) < OLDEST_BOTOCORE:
        oldest = ".".join(map(str, OLDEST_BOTOCORE))
        text = f"botocore {version} is too old: {oldest} is the oldest that will do."
        _log.critical(text)
        raise OldBotocoreError(text)


check_botocore(botocore.__version__)

# A request has 29 s at the gateway. Three tries of at most 1 s + 5 s leave room to answer
# with an error of the contract instead of being cut off.
_REQUEST_PATH = Config(
    connect_timeout=1,
    read_timeout=5,
    retries={"total_max_attempts": 3, "mode": "standard"},
)
# Presigned URLs of signature version 2 are refused by newer regions (and not even checked
# by the local AWS). Without `virtual` they would name the global host, which sends a client on to
# the Region's where the signature, or a posted form, is refused. An address of numbers, such as the
# local AWS has, is left as it is.
_S3 = _REQUEST_PATH.merge(Config(signature_version="s3v4", s3={"addressing_style": "virtual"}))


@cache
def _session() -> boto3.session.Session:
    core = botocore.session.Session()
    # An older botocore asks STS by its global name, to which no endpoint of our network answers.
    core.set_config_variable("sts_regional_endpoints", "regional")
    return boto3.session.Session(botocore_session=core)


@cache
def table(name: str) -> Table:
    """Return the DynamoDB table of that name; makes no call."""
    return _session().resource("dynamodb", config=_REQUEST_PATH).Table(name)


@cache
def s3() -> S3Client:
    """Return the S3 client; makes no call."""
    return _session().client("s3", config=_S3)


def objects_origin(bucket: str) -> str:
    """Return the scheme and host of every presigned link and form of a bucket; makes no call."""
    endpoint = urlsplit(s3().meta.endpoint_url)
    # As botocore addresses a bucket: as a host of its own, but not where the address is of numbers.
    numbers = re.fullmatch(r"[0-9.]+|\[.*\]", endpoint.netloc.rpartition(":")[0] or endpoint.netloc)
    host = endpoint.netloc if numbers else f"{bucket}.{endpoint.netloc}"
    return f"{endpoint.scheme}://{host}"


@cache
def sqs() -> SQSClient:
    """Return the SQS client; makes no call."""
    return _session().client("sqs", config=_REQUEST_PATH)


@cache
def ses() -> SESV2Client:
    """Return the SES client; makes no call."""
    return _session().client("sesv2", config=_REQUEST_PATH)


@cache
def sts() -> STSClient:
    """Return the STS client; makes no call."""
    return _session().client("sts", config=_REQUEST_PATH)


# An hour is the most that a role may get when a function's role assumes it.
SESSION_SECONDS = 3600
# A link dies with the session that signed it. So a session is left alone while it still has the
# 15 minutes of a link to live, and five more for the request under way and for clocks that differ.
RENEWED_SECONDS = 1200
# Each keeps a client of 0.4 MB.
_SESSIONS = 128
_CLIENT_ID = re.compile(r"[a-z0-9][a-z0-9-]{1,62}")


@dataclass(frozen=True, slots=True)
class _ClientSession:
    s3: S3Client
    expires_at: float  # seconds since 1970


class ClientSessions:
    """S3 clients that each reach the objects of one client of ours, and no others.

    A function's own role reaches no object. For every request it assumes the data role, narrowed
    by a session policy to the prefixes of the client whose request it is: a mistake in an object's
    name then ends in a refusal by S3 and not in another client's radiograph. Sessions are kept
    for as long as they can sign whole links. `timer` returns the time in seconds since 1970.
    """

    def __init__(
        self,
        service: STSClient,
        role_arn: str,
        bucket: str,
        timer: Callable[[], float] = time.time,
    ) -> None:
        self._sts = service
        self._role_arn = role_arn
        _, partition, _, _, account, _ = role_arn.split(":", 5)
        self._bucket_arn = f"arn:{partition}:s3:::{bucket}"
        self._keys_arn = f"arn:{partition}:kms:*:{account}:key/*"
        self._lock = Lock()
        self._sessions: TLRUCache[str, _ClientSession] = TLRUCache(
            _SESSIONS,
            ttu=lambda _id, session, _now: session.expires_at - RENEWED_SECONDS,
            timer=timer,
        )

    def __call__(self, client_id: str) -> S3Client:
        """Return the S3 client for one client's objects; asks STS when there is none to reuse.

        Raises ValueError for what is no client's id, and what boto raises.
        """
        if not _CLIENT_ID.fullmatch(client_id):  # a `*` in it would widen the policy
            raise ValueError("not a client's id")
        with self._lock:
            session = self._sessions.get(client_id)
            if session is None:
                session = self._assume(client_id)
                self._sessions[client_id] = session
            return session.s3

    def policy(self, client_id: str) -> str:
        """Return the session policy for one client's objects: what of the role's it may use."""
        prefixes = [f"clients/{client_id}/*", f"uploads/{client_id}/*"]
        objects = {
            "Effect": "Allow",
            "Action": ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
            "Resource": [f"{self._bucket_arn}/{prefix}" for prefix in prefixes],
        }
        listing = {
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": self._bucket_arn,
            "Condition": {"StringLike": {"s3:prefix": prefixes}},
        }
        # Which key there is to use says the key's own policy; a session policy can only narrow it.
        keys = {
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": self._keys_arn,
            "Condition": {"StringLike": {"kms:ViaService": "s3.*"}},
        }
        document = {"Version": "2012-10-17", "Statement": [objects, listing, keys]}
        return json.dumps(document, separators=(",", ":"))

    def _assume(self, client_id: str) -> _ClientSession:
        granted = self._sts.assume_role(
            RoleArn=self._role_arn,
            RoleSessionName=client_id,  # CloudTrail then tells for whom an object was read
            Policy=self.policy(client_id),
            DurationSeconds=SESSION_SECONDS,
        )["Credentials"]
        s3_client = _session().client(
            "s3",
            config=_S3,
            aws_access_key_id=granted["AccessKeyId"],
            aws_secret_access_key=granted["SecretAccessKey"],
            aws_session_token=granted["SessionToken"],
        )
        return _ClientSession(s3_client, granted["Expiration"].timestamp())
