"""Where the parts of trees lie between the operator's machine and the mount: in the bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.errors import StorageUnavailable
from chalicelib.runtime.manifest import MAX_MANIFEST_BYTES, MAX_PART_BYTES, TreeRefused

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "runtime/"
# efs_sync may not list the bucket, and to such a one S3 says "denied" of what is not there.
_GONE = {"NoSuchKey", "404", "AccessDenied", "403"}


def manifest_name(tree: str) -> str:
    """The object that holds a tree's manifest; it is stored last."""
    return f"{PREFIX}{tree}/manifest.json"


def part_name(tree: str, number: int) -> str:
    """The object that holds a part, counted from 0."""
    return f"{PREFIX}{tree}/part-{number + 1:04d}.gz"


class S3Source:
    """Satisfies `unpacking.Source`."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def manifest(self, tree: str) -> bytes:
        """Return the manifest. Raises TreeRefused without one, StorageUnavailable."""
        return self._get(manifest_name(tree), MAX_MANIFEST_BYTES)

    def part(self, tree: str, number: int) -> bytes:
        """Return a part. Raises TreeRefused without one, StorageUnavailable."""
        return self._get(part_name(tree, number), MAX_PART_BYTES)

    def _get(self, name: str, limit: int) -> bytes:
        try:
            body = self._client.get_object(Bucket=self._bucket, Key=name)["Body"]
            data = body.read(limit + 1)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _GONE:
                raise TreeRefused(f"{name} is not in the bucket: upload the tree first") from error
            raise StorageUnavailable("the bucket does not answer") from error
        except BotoCoreError as error:
            raise StorageUnavailable("the bucket does not answer") from error
        if len(data) > limit:
            raise TreeRefused(f"{name} is larger than it may be")
        return data
