"""How studies come in and go, in memory: posted bytes, uploads, idempotency keys, erasure."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from chalicelib.domain import (
    IDEMPOTENCY_LIFE,
    MAX_UPLOAD_BYTES,
    UPLOAD_LINK,
    Job,
    SpentUpload,
    Study,
    StudyStatus,
    UploadForm,
    posted_name,
    taken_name,
)
from chalicelib.errors import IdempotencyConflict, NotFound, PayloadTooLarge
from chalicelib.ports import Erasure, Intake, SourceStore, SpentUploads
from chalicelib.tenants import periods
from tests.fakes.jobs import Once

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from chalicelib.domain import Caller, Idempotency, Upload
    from chalicelib.ports import Clock, Unreadable
    from tests.fakes.jobs import FakeJobStore
    from tests.fakes.tenants import FakeLedger, FakeStudyStore


class InMemorySourceStore(SourceStore):
    """Bytes in a dictionary; `post` is what S3 does with a form."""

    def __init__(self, now: Clock) -> None:
        self._now = now
        self.objects: dict[str, bytes] = {}

    def form(self, upload: Upload) -> UploadForm:
        return UploadForm(
            upload_id=upload.id,
            url="https://uploads.invalid/",
            fields={"key": upload.object_name, "Content-Type": upload.content_type},
            max_bytes=upload.size,
            expires_at=self._now().replace(microsecond=0) + UPLOAD_LINK,
        )

    def post(self, form: UploadForm, body: bytes) -> bool:
        """Take the bytes as the form's conditions allow, and tell whether they did."""
        allowed = 1 <= len(body) <= form.max_bytes and self._now() < form.expires_at
        if allowed:
            self.objects[form.fields["key"]] = body
        return allowed

    def put(self, object_name: str, body: bytes) -> None:
        self.objects[object_name] = body

    def get(self, object_name: str) -> bytes:
        if object_name not in self.objects:
            raise NotFound("There are no bytes of this image.")
        body = self.objects[object_name]
        if len(body) > MAX_UPLOAD_BYTES:
            raise PayloadTooLarge(f"An image may have {MAX_UPLOAD_BYTES:,} bytes.")
        return body

    def take(self, posted: str, study_id: str) -> str | None:
        if posted not in self.objects:
            return None
        name = taken_name(posted, study_id)
        self.objects[name] = self.objects[posted]
        return name

    def size(self, object_name: str) -> int | None:
        body = self.objects.get(object_name)
        return None if body is None else len(body)

    def delete(self, object_name: str) -> None:
        posted = posted_name(object_name)
        taken = [name for name in self.objects if posted and name.startswith(posted)]
        for name in [object_name, *taken]:
            self.drop(name)

    def drop(self, object_name: str) -> None:
        self.objects.pop(object_name, None)


class FakeIntake(Intake):
    """Uploads and idempotency keys in dictionaries; studies, units and jobs go to the others."""

    def __init__(
        self, studies: FakeStudyStore, ledger: FakeLedger, jobs: FakeJobStore, clock: Clock
    ) -> None:
        self._studies = studies
        self._ledger = ledger
        self._jobs = jobs
        self._clock = clock
        self._uploads: dict[tuple[str, str], Upload] = {}
        self.spent = FakeSpentUploads()
        self._lock = Lock()

    def add_upload(self, upload: Upload) -> None:
        self._uploads[upload.client_id, upload.id] = upload

    def upload(self, client_id: str, upload_id: str) -> Upload:
        upload = self._uploads.get((client_id, upload_id))
        if upload is None or upload.expires_at <= self._clock():
            raise NotFound("There is no upload with this id, or it was used or has expired.")
        return upload

    def known(self, client_id: str, idempotency: Idempotency) -> Study | None:
        once = self._jobs.once.get((client_id, idempotency.key))
        if once is None or once.ends <= self._clock():
            return None
        if once.study_id is None:
            raise IdempotencyConflict("The study that this Idempotency-Key made was erased.")
        if once.fingerprint != idempotency.fingerprint:
            raise IdempotencyConflict("This Idempotency-Key came with another request before.")
        return self._studies.get(client_id, once.study_id)

    def enqueue(
        self,
        caller: Caller,
        study: Study,
        job: Job,
        idempotency: Idempotency | None = None,
        upload_id: str | None = None,
    ) -> Study:
        client = caller.client
        with self._lock:
            before = None if idempotency is None else self.known(client.id, idempotency)
            if before is not None:
                return before
            if upload_id is not None:
                self.upload(client.id, upload_id)
            if job.metered_at is not None:
                self._ledger.meter(client, job.metered_at)
                period = periods.start(client.plan.studies, job.metered_at)
                job = job.model_copy(update={"metered_period": period})
            if upload_id is not None:
                self.spent.uploads.append(self._uploads.pop((client.id, upload_id)))
            if idempotency is not None:
                ends = study.created_at + IDEMPOTENCY_LIFE
                once = Once(idempotency.fingerprint, study.id, ends)
                self._jobs.once[client.id, idempotency.key] = once
            self._studies.place(client.id, study)
            self._jobs.jobs[study.id] = job
        return study


class FakeSpentUploads(SpentUploads):
    """The uploads that a `FakeIntake` has made studies of."""

    def __init__(self) -> None:
        self.uploads: list[Upload] = []

    def made_before(
        self, moment: datetime, unreadable: Unreadable | None = None
    ) -> Iterator[SpentUpload]:
        del unreadable
        for one in [one for one in self.uploads if one.created_at <= moment]:
            yield SpentUpload(id=one.id, client_id=one.client_id, object_name=one.object_name)

    def forget(self, upload: SpentUpload) -> None:
        self.uploads = [one for one in self.uploads if one.id != upload.id]


class FakeErasure(Erasure):
    """Puts tombstones into the store of studies and takes jobs from their workers."""

    def __init__(self, studies: FakeStudyStore, jobs: FakeJobStore, clock: Clock) -> None:
        self._studies = studies
        self._jobs = jobs
        self._clock = clock

    def begin(self, client_id: str, study_id: str) -> Job:
        study = self._studies.get(client_id, study_id)
        job = self._jobs.jobs.get(study_id)
        if job is None:
            ended = self._jobs.ended(client_id, study_id)
            job = Job(
                study_id=study_id,
                client_id=client_id,
                mode=study.mode,
                object_name=(ended and ended.object_name) or "",
                created_at=self._clock(),
            )
        nobody = {"lease": None, "metered_at": None, "metered_period": None, "erased": True}
        self._jobs.jobs[study_id] = job = job.model_copy(update=nobody)
        for name, once in self._jobs.once.items():
            if once.study_id == study_id:
                self._jobs.once[name] = Once(None, None, once.ends)
        self._studies.place(
            client_id,
            Study(
                id=study.id,
                status=StudyStatus.DELETED,
                created_at=study.created_at,
                mode=study.mode,
            ),
        )
        return job

    def end(self, job: Job) -> None:
        stands = self._jobs.jobs.get(job.study_id)
        if stands and (stands.leased_until is None or stands.leased_until <= self._clock()):
            del self._jobs.jobs[job.study_id]
