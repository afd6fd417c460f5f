"""Work that outlives a request: uploads and queued jobs."""

from __future__ import annotations

from datetime import timedelta

from pydantic import AwareDatetime, Field

from chalicelib.domain.base import ClientId, Mode, StudyId, UploadId, Value
from chalicelib.domain.studies import Study

# What one upload may hold, in bytes, and how long its link takes it.
MAX_UPLOAD_BYTES = 100_000_000
UPLOAD_LINK = timedelta(minutes=15)
# How long posted bytes may wait for their study; the bucket's lifecycle removes what is left.
UPLOAD_LIFE = timedelta(hours=24)
# A form that has ended may still be taking bytes that were on their way. After that long it is not:
# 100 MB in ten minutes are 1.3 Mbit/s.
LAST_BYTES = timedelta(minutes=10)
# How long an idempotency key is remembered.
IDEMPOTENCY_LIFE = timedelta(hours=24)
# A worker has a study to itself for so long; after that another may take it over.
LEASE = timedelta(minutes=3)
# How often a study is begun before it is given up: the queue's maxReceiveCount.
MAX_ATTEMPTS = 3


class Upload(Value):
    """A place for the bytes of one image. `object_name`: where they lie; nobody can guess it."""

    id: UploadId
    client_id: ClientId
    object_name: str
    size: int = Field(ge=1, le=MAX_UPLOAD_BYTES, description="Bytes that were announced.")
    content_type: str = Field(max_length=100)
    created_at: AwareDatetime
    expires_at: AwareDatetime


class SpentUpload(Value):
    """An upload that has become a study, while its form may still take bytes, to `object_name`."""

    id: UploadId
    client_id: ClientId
    object_name: str


class UploadForm(Value):
    """What a client needs to post its image: a presigned POST (multipart form, `file` last)."""

    upload_id: UploadId
    url: str
    fields: dict[str, str]
    max_bytes: int
    expires_at: AwareDatetime


class Job(Value):
    """What a worker must know of a queued study and its client need not.

    `object_name`: the posted bytes. `metered_at`: the moment whose unit is given back when the
    study fails, None for a test; `metered_period`: when the period began whose counter has it, for
    the client may be on another plan by then, and `metered_shard` the part of it that has it.
    `attempt`: how often a worker has begun it. `lease`: the word by which the worker that holds the
    study is known, None while nobody does; `leased_until`: when it is, or was, free for another.
    `rings`: how often the sweeper has sent its message again, the last time at `rung_at`.
    `request_id`: of the request that queued it. `once`: where it is noted which idempotency key
    made it, None without one. `erased`: whether the study is, so that nothing is left to be done
    but to erase what it names.
    """

    study_id: StudyId
    client_id: ClientId
    mode: Mode
    object_name: str
    created_at: AwareDatetime
    metered_at: AwareDatetime | None = None
    metered_period: AwareDatetime | None = None
    metered_shard: int | None = None
    attempt: int = 0
    lease: str | None = None
    leased_until: AwareDatetime | None = None
    rings: int = 0
    rung_at: AwareDatetime | None = None
    request_id: str = ""
    once: str | None = None
    erased: bool = False

    def facts(self) -> dict[str, str | int]:
        """Return what a line of the log tells of it: ids alone, and which attempt."""
        return {
            "study_id": self.study_id,
            "client": self.client_id,
            "request_id": self.request_id,
            "attempt": self.attempt,
        }


def taken_name(posted: str, study_id: str) -> str:
    """Return where the bytes at `posted`, which a form writes to, go for a study: no form does."""
    return f"{posted}-{study_id}"


def posted_name(object_name: str) -> str | None:
    """Return where bytes were posted that are now at `object_name`; None when by no form."""
    posted, _, last = object_name.rpartition("-")
    return posted if last.startswith("st_") else None


class Ended(Value):
    """A study that a worker, or its client, has brought to its end.

    `object_name`: where its bytes lay, or still lie; None when that is not known any more.
    `attempts`: how often it was begun.
    """

    study: Study
    object_name: str | None = None
    attempts: int = 0


class Message(Value):
    """What lies in the queue: which study to work on. It only points; the table knows."""

    client_id: ClientId
    study_id: StudyId


class Idempotency(Value):
    """A client's word for one request. `fingerprint`: SHA-256 of what was asked, in hex."""

    key: str = Field(min_length=1, max_length=255)
    fingerprint: str = Field(pattern=r"^[0-9a-f]{64}$")
