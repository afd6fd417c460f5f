"""Records of what comes in: uploads, what idempotency keys did, and the jobs of queued studies."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from zlib import crc32

from chalicelib.domain import Job, SpentUpload, Upload
from chalicelib.tenants.records.place import FORGOTTEN_AT, moment, partition

if TYPE_CHECKING:
    from datetime import datetime

    from chalicelib.domain import Idempotency
    from chalicelib.tenants.records.place import Item

JOB_SHARDS = "0123456789abcdef"
# Spent uploads lie in so many partitions of the index, for no single one to take every write.
SPENT_SHARDS = 4


def job_key(study_id: str) -> Item:
    """Return the primary key of a study's job. Each of the 16 partitions is in order of time."""
    shard = hashlib.sha256(study_id.encode()).hexdigest()[0]
    return {"pk": job_partition(shard), "sk": study_id}


def job_partition(shard: str) -> str:
    """Return the partition key of the jobs of a shard, one of ``0123456789abcdef``."""
    return f"JOBS#{shard}"


def job_item(job: Job) -> Item:
    """Return the record of a job. What may be None is absent, for conditions to test."""
    item = job_key(job.study_id) | job.model_dump(mode="json", exclude_none=True)
    if job.leased_until is not None:
        item["leased_until"] = moment(job.leased_until)  # conditions compare it as text
    return item


def job_of(item: Item) -> Job:
    """Return the job of a record."""
    return Job.model_validate(item, extra="ignore")


def upload_key(client_id: str, upload_id: str) -> Item:
    """Return the primary key of an upload."""
    return {"pk": partition(client_id), "sk": f"UPLOAD#{upload_id}"}


def upload_item(upload: Upload) -> Item:
    """Return the record of an upload, which is forgotten when its time is over."""
    return (
        upload_key(upload.client_id, upload.id)
        | upload.model_dump(mode="json")
        | {FORGOTTEN_AT: int(upload.expires_at.timestamp())}
    )


def upload_of(item: Item) -> Upload:
    """Return the upload of a record."""
    return Upload.model_validate(item, extra="ignore")


def is_spent(item: Item) -> bool:
    """Tell whether the upload of a record has become a study."""
    return "gsi1pk" in item


def spent_partition(shard: int) -> str:
    """Return the index's partition key of one shard of the uploads that have become studies."""
    return f"SPENT#{shard}"


def spending(upload_id: str) -> tuple[str, Item, dict[str, str]]:
    """Return the update, its values and names, by which an upload's record is a spent one's.

    It is then in the index by the time at which its form was made, and holds nothing of the image
    any more but where bytes may still come to lie.
    """
    shard = crc32(upload_id.encode()) % SPENT_SHARDS
    return (
        "SET gsi1pk = :spent, gsi1sk = created_at REMOVE #size, content_type, created_at",
        {":spent": spent_partition(shard)},
        {"#size": "size"},
    )


def spent_of(item: Item) -> SpentUpload:
    """Return the spent upload of a record."""
    return SpentUpload.model_validate(item, extra="ignore")


def once_name(idempotency_key: str) -> str:
    """Return the sort key of what an idempotency key did; its own text is not kept."""
    return f"ONCE#{hashlib.sha256(idempotency_key.encode()).hexdigest()}"


def once_key(client_id: str, idempotency_key: str) -> Item:
    """Return the primary key of what an idempotency key did."""
    return {"pk": partition(client_id), "sk": once_name(idempotency_key)}


def once_item(
    client_id: str, idempotency: Idempotency, study_id: str, expires_at: datetime
) -> Item:
    """Return the record that an idempotency key made a study.

    Without `fingerprint` and `study_id` it says that the study was erased.
    """
    return once_key(client_id, idempotency.key) | {
        "fingerprint": idempotency.fingerprint,
        "study_id": study_id,
        FORGOTTEN_AT: int(expires_at.timestamp()),
    }
