"""The worker: a batch of messages in, each study brought to its end or given back to the queue."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from chalicelib.domain import LEASE, MAX_ATTEMPTS, Study, StudyStatus
from chalicelib.errors import (
    ClientSuspended,
    NotFound,
    RequestRefused,
    ServiceUnavailable,
    StorageUnavailable,
)
from chalicelib.services.ending import is_ours
from chalicelib.services.reading import pass_gate, succeeded, written
from chalicelib.services.timing import Stopwatch
from chalicelib.services.wave import Batch, Opened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chalicelib.domain import Job, Message, Prediction
    from chalicelib.ports import (
        Clock,
        Directory,
        JobStore,
        Monitor,
        SourceStore,
    )
    from chalicelib.services.ending import Endings
    from chalicelib.services.reading import Reader

# What a batch may hold of decoded pixels, in bytes, before it is answered. One image more is
# being decoded meanwhile, of at most 150 MB; the function has 3 GB, of which torch takes one.
MAX_PIXEL_BYTES = 150_000_000
# The first failure is tried again after so long, each further one after four times as long.
RETRY = timedelta(seconds=15)
AT_ONCE = timedelta()
# A lease with less than this left is renewed between two steps. A step is one image's fetching and
# decoding, one forward pass, or one report: seconds each, so no lease ends in the middle of one.
RENEWED_BEFORE = LEASE / 2


@dataclass(frozen=True, slots=True)
class WorkerService:
    """Works on queued studies.

    `reader` returns what reads images, or raises ModelUnavailable where there is no model or
    nothing to run it with: a failure of each study's attempt, not of the batch. `stopwatch` makes
    one for each batch. `retry`: after how long a first failure is tried again.
    """

    jobs: JobStore
    directory: Directory
    sources: SourceStore
    reader: Callable[[], Reader]
    endings: Endings
    monitor: Monitor
    clock: Clock
    max_pixel_bytes: int = MAX_PIXEL_BYTES
    stopwatch: Callable[[], Stopwatch] = Stopwatch
    retry: timedelta = RETRY

    def work(self, messages: Sequence[Message]) -> tuple[timedelta | None, ...]:
        """Bring each message's study to its end; return after how long it is to come again.

        None: the message has done its work. Whatever one image does, the others are unharmed.
        """
        batch, watch = Batch([None] * len(messages)), self.stopwatch()
        for number, message in enumerate(messages):
            try:
                job = self.jobs.begin(message.client_id, message.study_id)
                if job is None:
                    batch.again[number] = self._leave(message)
                    continue
            except Exception as error:  # noqa: BLE001 - it is reported, and others go on
                self.monitor.defect(
                    "begin", error, study_id=message.study_id, client=message.client_id
                )
                batch.again[number] = self.retry
                continue
            self._take(batch, number, job, watch)
        self._answer(batch, watch)
        for part, milliseconds in watch.milliseconds().items():
            self.monitor.measure("BatchTime", milliseconds, "Milliseconds", part=part)
        return tuple(batch.again)

    def _leave(self, message: Message) -> timedelta | None:
        """Clear up behind a study that is not to be begun; its message goes or is a dead letter."""
        ended = self.endings.clear_up(message.client_id, message.study_id)
        return AT_ONCE if ended is not None and is_ours(ended.study) else None

    def _take(self, batch: Batch, number: int, job: Job, watch: Stopwatch) -> None:
        # For a worker that ends without a word: this line tells in which call it was begun.
        self.monitor.note("begun", **job.facts())
        if job.attempt == 1:
            waited = (self.clock() - job.created_at).total_seconds()
            self.monitor.measure("QueueAge", waited, "Seconds")
        else:
            # It may be what took the process with it. Nobody else's study is in hand meanwhile.
            self._answer(batch, watch)
        batch.wave = [kept for one in batch.wave if (kept := self._kept(one))]
        try:
            if job.attempt > MAX_ATTEMPTS:  # each attempt took the process with it
                batch.again[number] = AT_ONCE
                self.endings.fail(job, None)
                return
            opened = self._open(number, job, watch)
        except Exception as error:  # noqa: BLE001 - it is reported, and others go on
            batch.again[number] = self._failed(job, error)
            return
        if opened is None:
            return
        if batch.held() + len(opened.radiograph.pixels) > self.max_pixel_bytes:
            self._answer(batch, watch)
        batch.wave.append(opened)
        if job.attempt > 1:
            self._answer(batch, watch)

    def _open(self, number: int, job: Job, watch: Stopwatch) -> Opened | None:
        """Fetch, decode and judge an image. None when that has ended the study."""
        client = self.directory.client(job.client_id)
        if client is None or client.deleting_at is not None or client.status == "suspended":
            # Nothing is computed for who may not call. It costs nothing and can be sent again.
            self.endings.fail(job, ClientSuspended("Access is paused for this client."))
            return None
        reader = self.reader()
        try:
            with watch.about("study", study_id=job.study_id, request_id=job.request_id):
                with watch.lap("fetch"):
                    body = self._fetch(job)
                with watch.lap("decode"):
                    radiograph = reader.decoder.decode(body)
                with watch.lap("gate"):
                    quality = pass_gate(reader.gate, client, radiograph)
        except RequestRefused as refused:
            self.endings.fail(job, refused)
            return None
        return Opened(number, job, client, radiograph, quality)

    def _kept(self, opened: Opened) -> Opened | None:
        """Return a study in hand with a lease that lasts; None when it is another's by now."""
        ends = opened.job.leased_until
        if ends is not None and ends - self.clock() > RENEWED_BEFORE:
            return opened
        try:
            job = self.jobs.renew(opened.job)
        except StorageUnavailable:
            return opened  # its end is conditional: should another be faster, nothing is stored
        return None if job is None else replace(opened, job=job)

    def _fetch(self, job: Job) -> bytes:
        try:
            return self.sources.get(job.object_name)
        except NotFound as error:
            raise LostImageError from error

    def _answer(self, batch: Batch, watch: Stopwatch) -> None:
        """Answer the wave in one forward pass and end its studies, each on its own."""
        wave, batch.wave = batch.wave, []
        for opened, prediction in zip(wave, self._predict(wave, watch), strict=True):
            if isinstance(prediction, Exception):
                batch.again[opened.number] = self._failed(opened.job, prediction)
                continue
            try:
                kept = self._kept(opened)
                if kept is not None:
                    self._end(kept, prediction, watch)
            except Exception as error:  # noqa: BLE001 - it is reported, and others go on
                batch.again[opened.number] = self._failed(opened.job, error)

    def _predict(self, wave: list[Opened], watch: Stopwatch) -> list[Prediction | Exception]:
        if not wave:
            return []
        with watch.lap("predict"):
            try:
                return list(self.reader().classifier.predict_many([one.radiograph for one in wave]))
            except Exception as error:  # noqa: BLE001 - whose fault it is, each alone will show
                if len(wave) == 1:
                    return [error]
            return [answer for one in wave for answer in self._predict([one], Stopwatch())]

    def _end(self, opened: Opened, prediction: Prediction, watch: Stopwatch) -> None:
        job = opened.job
        begun = Study(
            id=job.study_id,
            status=StudyStatus.RUNNING,
            created_at=job.created_at,
            mode=job.mode,
        )
        radiograph = opened.radiograph
        study = succeeded(begun, radiograph, opened.quality, prediction, self.clock())
        with watch.about("study", study_id=job.study_id, request_id=job.request_id):
            with watch.lap("report"):
                files = written(self.reader().writer, study, radiograph, prediction)
            with watch.lap("store"):
                self.endings.succeed(opened.client, job, study, files)

    def _failed(self, job: Job, error: Exception) -> timedelta:
        """Give a study back to the queue after a failure of ours, or end it after the last."""
        self.monitor.defect("attempt", error, **job.facts())
        last = job.attempt >= MAX_ATTEMPTS
        try:
            if last or isinstance(error, LostImageError):
                self.endings.fail(job, error if isinstance(error, ServiceUnavailable) else None)
            else:
                self.jobs.release(job)
        except Exception as again:  # noqa: BLE001 - the sweeper finds it when its lease is over
            self.monitor.defect("giving up", again, **job.facts())
        return AT_ONCE if last else self.retry * 4 ** (job.attempt - 1)


class LostImageError(Exception):
    """The bytes of a queued study are not there any more: no further attempt can help."""
