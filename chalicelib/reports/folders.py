"""Which studies have documents in the bucket, oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import TypeAdapter, ValidationError
from ulid import ULID

from chalicelib.domain import ClientId, StudyId
from chalicelib.errors import NotFound, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef

PAGE = 100  # folders in one answer of S3
_TIME = 10  # characters of an id, after its prefix, that tell its time in milliseconds
_client_id = TypeAdapter[str](ClientId)
_study_id = TypeAdapter[str](StudyId)


class S3StudyFolders:
    """Satisfies `ports.StudyFolders`: ids begin with their time, and S3 lists names in order."""

    def __init__(self, s3: Callable[[str], S3Client], bucket: str) -> None:
        """`s3` returns what reaches the objects of one client."""
        self._s3 = s3
        self._bucket = bucket

    def old(self, client_id: str, before: datetime) -> Iterator[str]:
        """Yield the ids of studies made before `before` that have documents, oldest first.

        Raises NotFound for what is no client's id, StorageUnavailable.
        """
        prefix = _prefix(client_id)
        bound = f"st_{str(ULID.from_datetime(before))[:_TIME]}"
        token = ""
        while True:
            answer = self._page(client_id, prefix, token)
            for folder in answer.get("CommonPrefixes", []):
                study_id = folder["Prefix"].removeprefix(prefix).rstrip("/")
                if study_id >= bound:
                    return
                if _is_study(study_id):  # else it is none of ours
                    yield study_id
            token = answer.get("NextContinuationToken", "")
            if not token:
                return

    def _page(self, client_id: str, prefix: str, token: str) -> ListObjectsV2OutputTypeDef:
        further: Any = {"ContinuationToken": token} if token else {}
        try:
            return self._s3(client_id).list_objects_v2(
                Bucket=self._bucket, Prefix=prefix, Delimiter="/", MaxKeys=PAGE, **further
            )
        except (ClientError, BotoCoreError):
            # Not chained: boto's own text can hold the names of objects.
            raise StorageUnavailable("The report storage does not answer.") from None


def _prefix(client_id: str) -> str:
    try:
        return f"clients/{_client_id.validate_python(client_id)}/studies/"
    except ValidationError:
        raise NotFound("There is no such client.") from None


def _is_study(text: str) -> bool:
    try:
        _study_id.validate_python(text)
    except ValidationError:
        return False
    return True
