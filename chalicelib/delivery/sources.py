"""Hides how S3 takes posted bytes in: presigned posts, and names that nobody can guess."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.domain import (
    MAX_UPLOAD_BYTES,
    UPLOAD_LINK,
    UploadForm,
    posted_name,
    taken_name,
)
from chalicelib.errors import NotFound, PayloadTooLarge, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client

    from chalicelib.domain import Upload
    from chalicelib.ports import Clock

_log = logging.getLogger(__name__)
# Without a right to list, S3 says "denied" of an object that is not there.
_ABSENT = {"NoSuchKey", "404", "AccessDenied", "403"}


class S3SourceStore:
    """Satisfies `ports.SourceStore` with one bucket; every call is safe to repeat.

    The bucket's lifecycle erases what is left under `uploads/` after a day.
    """

    def __init__(self, s3: Callable[[str], S3Client], bucket: str, now: Clock) -> None:
        """`s3` returns what reaches the objects of one client, and signs with s3v4 for it.

        What it signs must hold for `UPLOAD_LINK`. `now` tells when forms expire.
        """
        self._s3 = s3
        self._bucket = bucket
        self._now = now

    def form(self, upload: Upload) -> UploadForm:
        """Return a presigned POST, valid for 15 minutes; S3 is not asked.

        S3 holds the poster to this name, this content type and at most the announced size.
        Raises StorageUnavailable when there are no credentials to sign with.
        """
        # Signatures count whole seconds: rounded down, the time told is never too late.
        signed = self._now().replace(microsecond=0)
        kind = {"Content-Type": upload.content_type}
        with _translated("form"):
            post = self._s3(upload.client_id).generate_presigned_post(
                Bucket=self._bucket,
                Key=upload.object_name,
                Fields=dict(kind),
                Conditions=[kind, ["content-length-range", 1, upload.size]],
                ExpiresIn=int(UPLOAD_LINK.total_seconds()),
            )
        return UploadForm(
            upload_id=upload.id,
            url=post["url"],
            fields=post["fields"],
            max_bytes=upload.size,
            expires_at=signed + UPLOAD_LINK,
        )

    def put(self, object_name: str, body: bytes) -> None:
        """Store bytes, encrypted as the bucket says. Raises StorageUnavailable."""
        with _translated("put"):
            self._s3(_owner(object_name)).put_object(
                Bucket=self._bucket,
                Key=object_name,
                Body=body,
                ContentType="application/octet-stream",
            )

    def get(self, object_name: str) -> bytes:
        """Return the bytes. Raises NotFound, PayloadTooLarge beyond our cap, StorageUnavailable."""
        with _translated("get"):
            s3 = self._s3(_owner(object_name))
            try:
                found = s3.get_object(Bucket=self._bucket, Key=object_name)
            except ClientError as error:
                if _is_absent(error) and self.size(object_name) is None:
                    raise NotFound("There are no bytes of this image.") from None
                raise
            # Asked before reading: what is too large must not fill the memory.
            if found["ContentLength"] > MAX_UPLOAD_BYTES:
                found["Body"].close()
                raise PayloadTooLarge(f"An image may have {MAX_UPLOAD_BYTES:,} bytes.")
            return found["Body"].read()

    def take(self, posted: str, study_id: str) -> str | None:
        """Copy what a form has put at `posted` to where no form writes; return where that is.

        None while nothing has arrived. S3 copies by itself, and one upload whole: what is posted
        at the same time is in the copy or is not. Raises StorageUnavailable.
        """
        name = taken_name(posted, study_id)
        with _translated("take"):
            try:
                self._s3(_owner(posted)).copy_object(
                    Bucket=self._bucket,
                    Key=name,
                    CopySource={"Bucket": self._bucket, "Key": posted},
                )
            except ClientError as error:
                if _is_absent(error) and self.size(posted) is None:
                    return None
                raise
        return name

    def size(self, object_name: str) -> int | None:
        """Return how many bytes have arrived, None while there are none.

        Raises StorageUnavailable.
        """
        # A listing tells what is not there from what may not be read, which HEAD does not.
        with _translated("size"):
            s3 = self._s3(_owner(object_name))
            listed = s3.list_objects_v2(Bucket=self._bucket, Prefix=object_name, MaxKeys=1)
        sizes = [one["Size"] for one in listed.get("Contents", []) if one["Key"] == object_name]
        return sizes[0] if sizes else None

    def delete(self, object_name: str) -> None:
        """Erase the bytes, and what lies where they were taken from; none there is no error.

        So goes what a request has taken that died before its study stood: the names of all that
        was taken begin with that of what was posted. Raises StorageUnavailable.
        """
        posted = posted_name(object_name)
        if posted is None:
            self.drop(object_name)
            return
        with _translated("look"):
            s3 = self._s3(_owner(posted))
            listed = s3.list_objects_v2(Bucket=self._bucket, Prefix=posted)
        for one in listed.get("Contents", []):
            self.drop(one["Key"])

    def drop(self, object_name: str) -> None:
        """Erase the bytes alone; none there is no error. Raises StorageUnavailable."""
        with _translated("delete"):
            s3 = self._s3(_owner(object_name))
            s3.delete_object(Bucket=self._bucket, Key=object_name)


def _owner(object_name: str) -> str:
    """Return whose bytes these are: the second part of every name that intake gives."""
    _, owner, _ = object_name.split("/")
    return owner


def _is_absent(error: ClientError) -> bool:
    return error.response["Error"].get("Code") in _ABSENT


@contextmanager
def _translated(action: str) -> Iterator[None]:
    """Turn what boto raises into our error; the log gets the kind of failure and no more.

    boto's own texts can hold object names, which alone keep an image from strangers, so the
    original is not chained.
    """
    try:
        yield
    except ClientError as error:
        _log.warning("source store: %s failed: %s", action, error.response["Error"].get("Code"))
        raise StorageUnavailable("The image storage does not answer.") from None
    except BotoCoreError as error:
        _log.warning("source store: %s failed: %s", action, type(error).__name__)
        raise StorageUnavailable("The image storage does not answer.") from None
