"""Work that outlives a request: uploads, queued jobs, and what must be told when they end."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import AwareDatetime, Field

from chalicelib.domain.base import ClientId, Mode, StudyId, UploadId, Value

# What one upload may hold, in bytes, and how long its link takes it.
MAX_UPLOAD_BYTES = 100_000_000
UPLOAD_LINK = timedelta(minutes=15)
# How long posted bytes may wait for their study; the bucket's lifecycle removes what is left.
UPLOAD_LIFE = timedelta(hours=24)
# How long an idempotency key is remembered.
IDEMPOTENCY_LIFE = timedelta(hours=24)
# A worker has a study to itself for so long; after that another may take it over.
LEASE = timedelta(minutes=3)
# How often a study is begun before it is given up: the queue's maxReceiveCount.
MAX_ATTEMPTS = 3

Channel = Literal["mail", "webhook"]
EventKind = Literal["study.succeeded", "study.failed", "test"]


class Upload(Value):
    """A place for the bytes of one image. `object_name`: where they lie; nobody can guess it."""

    id: UploadId
    client_id: ClientId
    object_name: str
    size: int = Field(ge=1, le=MAX_UPLOAD_BYTES, description="Bytes that were announced.")
    content_type: str = Field(max_length=100)
    created_at: AwareDatetime
    expires_at: AwareDatetime


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
    study fails, None for a test. `attempt`: how often a worker has begun it. `lease`: the word
    by which the worker that holds the study is known, None while nobody does.
    """

    study_id: StudyId
    client_id: ClientId
    mode: Mode
    object_name: str
    created_at: AwareDatetime
    metered_at: AwareDatetime | None = None
    attempt: int = 0
    lease: str | None = None
    leased_until: AwareDatetime | None = None


class Message(Value):
    """What lies in the queue: which study to work on. It only points; the table knows."""

    client_id: ClientId
    study_id: StudyId


class Idempotency(Value):
    """A client's word for one request. `fingerprint`: SHA-256 of what was asked, in hex."""

    key: str = Field(min_length=1, max_length=255)
    fingerprint: str = Field(pattern=r"^[0-9a-f]{64}$")


class Delivery(Value):
    """One event to be told over one channel, and how far that has come.

    `next_at`: when to try (again); None once it is `delivered` or given up (`failed`).
    """

    id: str = Field(description="evt_ and a ULID: the event, the same on every channel and try.")
    client_id: ClientId
    channel: Channel
    kind: EventKind
    study_id: StudyId | None
    created_at: AwareDatetime
    status: Literal["pending", "delivered", "failed"] = "pending"
    attempt: int = 0
    next_at: AwareDatetime | None
    last_error: str = Field(default="", max_length=200)
