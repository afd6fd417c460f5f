"""Takes images in that are analysed later: uploads, and studies that wait in the queue."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.domain import (
    MAX_UPLOAD_BYTES,
    UPLOAD_LIFE,
    Job,
    Message,
    Study,
    StudyStatus,
    Upload,
    new_id,
    posted_name,
)
from chalicelib.errors import NotFinished, PayloadTooLarge, RequestRefused, StorageUnavailable
from chalicelib.services.quota import Units
from chalicelib.services.timing import is_given_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from chalicelib.domain import Caller, Idempotency, UploadForm
    from chalicelib.ports import Clock, Intake, JobQueue, JobStore, Ledger, SourceStore

# So many of a client's studies may wait in the first queue; what comes beyond goes to the bulk one.
SHARE = 10


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request to queue brings besides the image."""

    caller: Caller
    idempotency: Idempotency | None
    request_id: str
    units: Units


@dataclass(frozen=True, slots=True)
class IntakeService:
    """Stores what was posted and queues it; a worker does the rest."""

    sources: SourceStore
    intake: Intake
    jobs: JobStore
    queue: JobQueue
    ledger: Ledger
    clock: Clock

    def open_upload(self, caller: Caller, size: int, content_type: str) -> UploadForm:
        """Return a form that takes one image of at most `size` (1 or more) bytes.

        Raises PayloadTooLarge or StorageUnavailable.
        """
        if size > MAX_UPLOAD_BYTES:
            raise PayloadTooLarge(f"An upload may have {MAX_UPLOAD_BYTES:,} bytes, not {size:,}.")
        now, upload_id = self.clock(), new_id("up")
        upload = Upload(
            id=upload_id,
            client_id=caller.client.id,
            object_name=_object_name(caller, upload_id),
            size=size,
            content_type=content_type,
            created_at=now,
            expires_at=now + UPLOAD_LIFE,
        )
        form = self.sources.form(upload)
        self.intake.add_upload(upload)
        return form

    def enqueue(
        self,
        caller: Caller,
        body: bytes,
        idempotency: Idempotency | None = None,
        request_id: str = "",
        units: Units | None = None,
    ) -> Study:
        """Store the bytes of an image and return its queued study.

        With an idempotency key that is known, return the study that it made. Raises
        IdempotencyConflict or QuotaExceeded, and then keeps nothing, or StorageUnavailable.
        """
        asked = _Asked(caller, idempotency, request_id, units or Units(self.ledger, caller))

        def stored(study_id: str) -> str:
            name = _object_name(caller, study_id)
            self.sources.put(name, body)
            return name

        return self._enqueue(asked, stored)

    def enqueue_upload(
        self,
        caller: Caller,
        upload_id: str,
        idempotency: Idempotency | None = None,
        request_id: str = "",
        units: Units | None = None,
    ) -> Study:
        """Return the queued study of bytes that were uploaded, and use the upload up.

        The form may still be good. So the study is of a copy, which no form can write to, and
        what is posted later is none of it: the sweeper erases that when the form has ended.
        Idempotency as with `enqueue`. Raises NotFound for an upload that was used or never was,
        NotFinished while its bytes have not arrived, IdempotencyConflict, QuotaExceeded (the
        upload can then be used later) or StorageUnavailable.
        """
        asked = _Asked(caller, idempotency, request_id, units or Units(self.ledger, caller))

        def taken(study_id: str) -> str:
            upload = self.intake.upload(caller.client.id, upload_id)
            name = self.sources.take(upload.object_name, study_id)
            if name is None:
                raise NotFinished("The bytes of this upload have not arrived: post them first.")
            return name

        return self._enqueue(asked, taken, upload_id)

    def _enqueue(
        self, asked: _Asked, place: Callable[[str], str], upload_id: str | None = None
    ) -> Study:
        """Queue a study of the bytes that `place`, given its id, says where they lie."""
        caller, word = asked.caller, _word_of(asked.caller, asked.idempotency)
        if word and (before := self.intake.known(caller.client.id, word)):
            return before
        asked.units.refuse_without(self.clock)
        study = self._new_study(caller)
        job = self._job(caller, study, place(study.id), asked.request_id)
        if is_given_up():  # the client has its 503, and may have sent the image again by now
            self._drop(job.object_name)
            raise StorageUnavailable("Nobody waits for this any more.")
        try:
            stands = self.intake.enqueue(caller, study, job, word, upload_id)
        except RequestRefused:
            asked.units.forget()
            # Certain not to be stored. After a StorageUnavailable it may be: keep the bytes.
            self._drop(job.object_name)
            raise
        if stands.id != study.id:  # another request with the same key was faster
            self._drop(job.object_name)
            return stands
        asked.units.spent()
        posted = posted_name(job.object_name)
        if posted is not None:
            self._drop(posted)
        self._ring(job)
        return stands

    def _new_study(self, caller: Caller) -> Study:
        return Study(
            id=new_id("st"),
            status=StudyStatus.QUEUED,
            created_at=self.clock(),
            mode=caller.key.mode,
        )

    def _job(self, caller: Caller, study: Study, object_name: str, request_id: str) -> Job:
        return Job(
            study_id=study.id,
            client_id=caller.client.id,
            mode=study.mode,
            object_name=object_name,
            created_at=study.created_at,
            metered_at=study.created_at if study.mode == "live" else None,
            request_id=request_id,
        )

    def _drop(self, object_name: str) -> None:
        """Erase bytes that are of no use. What an upload holds waits for its next request."""
        # What is left goes with its study, when the sweeper comes, or by the bucket's lifecycle.
        with suppress(StorageUnavailable):
            self.sources.drop(object_name)

    def _ring(self, job: Job) -> None:
        # The study stands already: without a message it is queued all the same, and the sweeper
        # rings again.
        with suppress(StorageUnavailable):
            bulk = self.jobs.waiting(job.client_id, SHARE + 1) > SHARE
            message = Message(client_id=job.client_id, study_id=job.study_id)
            self.queue.send(message, bulk=bulk)


def _object_name(caller: Caller, name: str) -> str:
    """Return a name of 128 bits that nobody can guess, under the client's own prefix."""
    return f"uploads/{caller.client.id}/{name}-{secrets.token_hex(16)}"


def _word_of(caller: Caller, idempotency: Idempotency | None) -> Idempotency | None:
    """Return the client's word, apart for tests: a test's study must not answer for a live one."""
    if idempotency is None:
        return None
    return idempotency.model_copy(update={"key": f"{caller.key.mode}/{idempotency.key}"})
