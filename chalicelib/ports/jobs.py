"""Queued studies: posted bytes, the way in, the lease of each, the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from chalicelib.domain import (
        Caller,
        Delivery,
        Ended,
        Idempotency,
        Job,
        Message,
        SpentUpload,
        Study,
        Upload,
        UploadForm,
    )
    from chalicelib.ports.operation import Unreadable


class SourceStore(Protocol):
    """Keeps posted bytes until their study is done. Every method raises StorageUnavailable."""

    def form(self, upload: Upload) -> UploadForm:
        """Return a presigned POST that takes exactly this upload, its size and its type."""

    def put(self, object_name: str, body: bytes) -> None:
        """Store bytes that came with the request itself."""

    def get(self, object_name: str) -> bytes:
        """Return the bytes. Raises NotFound when there are none, PayloadTooLarge beyond our cap."""

    def take(self, posted: str, study_id: str) -> str | None:
        """Copy what a form has put at `posted` to where no form writes; return where that is.

        None while nothing has arrived. What is posted from now on changes nothing there.
        """

    def size(self, object_name: str) -> int | None:
        """Return how many bytes have arrived, None while there are none."""

    def delete(self, object_name: str) -> None:
        """Erase the bytes; none there is no error.

        Of bytes that were taken, also what was posted and whatever else was taken of it.
        """

    def drop(self, object_name: str) -> None:
        """Erase the bytes alone; none there is no error."""


class Intake(Protocol):
    """Takes studies in: whatever makes a study exist is one transaction.

    Every method raises StorageUnavailable.
    """

    def add_upload(self, upload: Upload) -> None:
        """Remember an upload until its `expires_at`."""

    def upload(self, client_id: str, upload_id: str) -> Upload:
        """Return an upload of this client. Raises NotFound, also once it was used or expired."""

    def known(self, client_id: str, idempotency: Idempotency) -> Study | None:
        """Return the study that this key made, None for a new key.

        Raises IdempotencyConflict, also when that study was erased.
        """

    def enqueue(
        self,
        caller: Caller,
        study: Study,
        job: Job,
        idempotency: Idempotency | None = None,
        upload_id: str | None = None,
    ) -> Study:
        """Store a queued study with its job and meter one unit of a live key, all or nothing.

        An upload is used up by it, and is among the `SpentUploads` then. Returns the study that
        stands: the given one, or the one that the idempotency key made before. Raises
        QuotaExceeded, IdempotencyConflict, or NotFound for an upload that is no longer there.
        """


class SpentUploads(Protocol):
    """Knows the uploads that studies were made of. Every method raises StorageUnavailable."""

    def made_before(
        self, moment: datetime, unreadable: Unreadable | None = None
    ) -> Iterator[SpentUpload]:
        """Yield those whose form was made before `moment`; `unreadable` is told of bad records."""

    def forget(self, upload: SpentUpload) -> None:
        """Forget one, since nothing can lie at its name any more."""


class JobStore(Protocol):
    """Moves queued studies on, each step under a condition; none ever goes backwards.

    Every method raises StorageUnavailable.
    """

    def begin(self, client_id: str, study_id: str) -> Job | None:
        """Lease a queued study, or a running one whose lease has run out; count the attempt.

        None when there is nothing to do: it is finished, erased, unknown, or another has it.
        """

    def finish(self, job: Job, study: Study, deliveries: Sequence[Delivery] = ()) -> bool:
        """Store a result and what must be told of it, and drop the job, all or nothing.

        False when the lease is no longer this job's or the study was erased meanwhile.
        """

    def fail(self, job: Job, study: Study, deliveries: Sequence[Delivery] = ()) -> bool:
        """Store a failure, give the metered unit back and drop the job; otherwise as `finish`."""

    def renew(self, job: Job) -> Job | None:
        """Begin the time of a lease anew. None when it is another's by now, or the study erased.

        Nobody else can have it while its time is over, unless they have begun the study.
        """

    def release(self, job: Job) -> None:
        """Give the lease up before its time, so that the next attempt need not wait for it."""

    def ended(self, client_id: str, study_id: str) -> Ended | None:
        """Return how a study ended, None while it has not, or when it is unknown."""

    def stuck(self, before: datetime, unreadable: Unreadable | None = None) -> Iterator[Job]:
        """Yield the jobs made before `before` that nobody has a lease on, the oldest first.

        `unreadable` is told of records that are no jobs, and the next one is looked at.

        In order within each of several parts, that is, which take turns in being the first. The
        jobs of studies that were erased are among them, until their erasure is complete.
        """

    def note_ring(self, job: Job, at: datetime) -> None:
        """Note that the job's message was sent again; nothing when it has moved on meanwhile."""

    def waiting(self, client_id: str, at_most: int) -> int:
        """Return how many of a client's studies are queued, counting no further than `at_most`."""


class JobQueue(Protocol):
    """Carries messages to the workers, at least once, in no order."""

    def send(self, message: Message, *, bulk: bool) -> None:
        """Send; `bulk` for a client that already has many waiting. Raises StorageUnavailable."""
