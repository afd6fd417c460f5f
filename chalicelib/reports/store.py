"""Hides how S3 keeps a study's documents: object names, encryption, and links that expire."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import StringConstraints, TypeAdapter, ValidationError

from chalicelib.domain import REPORT_NAME, ClientId, Link, StudyId
from chalicelib.errors import NotFound, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectTypeDef, PutObjectRequestTypeDef

    from chalicelib.ports import Clock

LINK_SECONDS = 900

MEDIA_TYPES = {"pdf": "application/pdf", "png": "image/png"}

# How S3 says that something else, or nothing, lies there by now.
_CHANGED = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}

_log = logging.getLogger(__name__)
_client_id = TypeAdapter[str](ClientId)
_study_id = TypeAdapter[str](StudyId)
_name = TypeAdapter[str](
    Annotated[str, StringConstraints(pattern=r"^(report\.pdf|heatmap-[a-z0-9-]{1,80}\.png)$")]
)


def object_name(client_id: str, study_id: str, name: str) -> str:
    """Return the name of a document's object, under the client's own prefix.

    Raises NotFound when an id or the name cannot have been given out: one with a slash in it
    would otherwise name an object of another client.
    """
    try:
        client, study = _client_id.validate_python(client_id), _study_id.validate_python(study_id)
        return f"clients/{client}/studies/{study}/{_name.validate_python(name)}"
    except ValidationError:
        raise NotFound("There is no such report.") from None


def prefix_of(client_id: str, study_id: str) -> str:
    """Return what the names of all objects of a study begin with. Raises NotFound as above."""
    return object_name(client_id, study_id, REPORT_NAME).removesuffix(REPORT_NAME)


def media_type(name: str) -> str:
    """Return the media type of a document by its name, which `object_name` has accepted."""
    return MEDIA_TYPES[name.rpartition(".")[2]]


class S3DocumentStore:
    """Keeps documents in one bucket; every call is safe to repeat."""

    def __init__(self, s3: Callable[[str], S3Client], bucket: str, now: Clock) -> None:
        """`s3` returns what reaches the objects of one client, and signs with s3v4 for it.

        What it signs must hold for `LINK_SECONDS`. `now` tells when links expire.
        """
        self._s3 = s3
        self._bucket = bucket
        self._now = now

    def put(self, client_id: str, study_id: str, name: str, body: bytes) -> None:
        """Store a document, encrypted as the bucket says; storing it again replaces it.

        Raises NotFound for what was never given out, StorageUnavailable.
        """
        with _translated("put"):
            self._s3(client_id).put_object(**self._document(client_id, study_id, name, body))

    def states(self, client_id: str, study_id: str) -> dict[str, str]:
        """Return the ETag of each document of a study, by name.

        Raises NotFound for what was never given out, StorageUnavailable.
        """
        prefix = prefix_of(client_id, study_id)
        with _translated("look"):
            return {
                document["Key"].removeprefix(prefix): document["ETag"]
                for document in self._listed(client_id, prefix)
            }

    def put_over(
        self, client_id: str, study_id: str, name: str, body: bytes, state: str | None
    ) -> bool:
        """Store a document where `state`, an ETag or None, is still what lies there; else False.

        Raises NotFound for what was never given out, StorageUnavailable.
        """
        document = self._document(client_id, study_id, name, body)
        if state is None:
            document["IfNoneMatch"] = "*"
        else:
            document["IfMatch"] = state
        with _translated("put"):
            try:
                self._s3(client_id).put_object(**document)
            except ClientError as error:
                if error.response["Error"].get("Code") in _CHANGED:
                    return False
                raise
        return True

    def _document(
        self, client_id: str, study_id: str, name: str, body: bytes
    ) -> PutObjectRequestTypeDef:
        return {
            "Bucket": self._bucket,
            "Key": object_name(client_id, study_id, name),
            "Body": body,
            "ContentType": media_type(name),
            "ContentDisposition": f'inline; filename="{study_id}-{name}"',
            # A browser's cache would outlive the link and the erasure.
            "CacheControl": "private, no-store",
        }

    def link(self, client_id: str, study_id: str, name: str) -> Link:
        """Return a freshly signed link, valid for 15 minutes; S3 is not asked whether it is there.

        Raises NotFound for what was never given out, StorageUnavailable when there are no
        credentials to sign with.
        """
        key = object_name(client_id, study_id, name)
        # Signatures count whole seconds: rounded down, the time told is never too late.
        signed = self._now().replace(microsecond=0)
        with _translated("link"):
            url = self._s3(client_id).generate_presigned_url(
                "get_object",
                Params={"Bucket": self._bucket, "Key": key},
                ExpiresIn=LINK_SECONDS,
            )
        expires_at = signed + timedelta(seconds=LINK_SECONDS)
        return Link(url=url, expires_at=expires_at, media_type=media_type(name))

    def delete(self, client_id: str, study_id: str, name: str) -> None:
        """Erase a document; one that is not there is no error.

        Raises NotFound for what was never given out, StorageUnavailable.
        """
        key = object_name(client_id, study_id, name)
        with _translated("delete"):
            self._s3(client_id).delete_object(Bucket=self._bucket, Key=key)

    def delete_all(self, client_id: str, study_id: str) -> None:
        """Erase whatever is kept of a study; nothing there is no error.

        Raises NotFound for what was never given out, StorageUnavailable.
        """
        prefix = prefix_of(client_id, study_id)
        with _translated("delete all"):
            s3 = self._s3(client_id)
            for document in self._listed(client_id, prefix):
                s3.delete_object(Bucket=self._bucket, Key=document["Key"])

    def _listed(self, client_id: str, prefix: str) -> Sequence[ObjectTypeDef]:
        # One page of at most 1,000 is enough: a study has a report and a heatmap per label.
        listed = self._s3(client_id).list_objects_v2(Bucket=self._bucket, Prefix=prefix)
        return listed.get("Contents", [])


@contextmanager
def _translated(action: str) -> Iterator[None]:
    """Turn what boto raises into our error; the log gets the kind of failure and no more.

    boto's own texts can hold endpoints, object names and pieces of the request, so the
    original is not chained: a chained exception is printed wherever ours is.
    """
    try:
        yield
    except ClientError as error:
        _log.warning("document store: %s failed: %s", action, error.response["Error"].get("Code"))
        raise StorageUnavailable("The report storage does not answer.") from None
    except BotoCoreError as error:
        _log.warning("document store: %s failed: %s", action, type(error).__name__)
        raise StorageUnavailable("The report storage does not answer.") from None
