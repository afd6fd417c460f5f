"""Brings a built tree into the stage's bucket, part by part; what is there already stays.

The bucket's lifecycle deletes parts after seven days: a tree that is on the mount needs them no
more. So a part that is half as old is sent again, and none can go while its tree is unpacked.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from admin_cli.console import CliError
from admin_cli.runtime.build import MANIFEST
from chalicelib.runtime.manifest import TreeRefused, read_manifest
from chalicelib.runtime.store import manifest_name, part_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

    from chalicelib.runtime.manifest import Manifest

_SHA256 = "sha256"  # the metadata that an object keeps of what was put there
FRESH = timedelta(days=3)


class Upload:
    """One tree on its way to one bucket. `clock`: tells the time, in UTC."""

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        folder: Path,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._clock = clock
        self._bucket = bucket
        self._folder = folder
        self._data = (folder / MANIFEST).read_bytes()
        try:
            self.manifest: Manifest = read_manifest(self._data, folder.name)
        except TreeRefused as refused:
            raise CliError(f"{folder}: {refused.detail}: build it again") from refused

    @property
    def size(self) -> int:
        """What there is to upload, packed."""
        return sum(part.bytes for part in self.manifest.parts)

    def run(self, moved: Callable[[float], None] = lambda _: None) -> int:
        """Upload what is not there yet, the manifest last; return how many parts were sent.

        S3 checks each part against its SHA-256 before it keeps it. Raises CliError for a part that
        is not what the manifest says.
        """
        sent = 0
        for number, part in enumerate(self.manifest.parts):
            name = part_name(self.manifest.tree, number)
            if not self._is_there(name, part.sha256, part.bytes):
                data = (self._folder / name.rpartition("/")[2]).read_bytes()
                if hashlib.sha256(data).hexdigest() != part.sha256:
                    raise CliError(
                        f"part {number + 1} of {self._folder} is damaged: build it again"
                    )
                self._put(name, data)
                sent += 1
            moved(part.bytes)
        self._put(manifest_name(self.manifest.tree), self._data)
        return sent

    def _is_there(self, name: str, sha256: str, size: int) -> bool:
        try:
            head = self._client.head_object(Bucket=self._bucket, Key=name)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in {"404", "NoSuchKey", "NotFound"}:
                return False
            raise
        fresh = self._clock() - head["LastModified"] < FRESH
        same = head["ContentLength"] == size and head["Metadata"].get(_SHA256) == sha256
        return fresh and same

    def _put(self, name: str, data: bytes) -> None:
        digest = hashlib.sha256(data)
        self._client.put_object(
            Bucket=self._bucket,
            Key=name,
            Body=data,
            ChecksumSHA256=b64encode(digest.digest()).decode(),
            Metadata={_SHA256: digest.hexdigest()},
        )
