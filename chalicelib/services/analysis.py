"""The main job: a radiograph in, a study with findings and a report out, or one in the queue."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.domain import Study, StudyStatus, new_id
from chalicelib.errors import QuotaExceeded, RadgateError, StorageUnavailable
from chalicelib.services.links import with_links
from chalicelib.services.quota import Units
from chalicelib.services.reading import pass_gate, succeeded, written

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chalicelib.domain import Caller, Radiograph
    from chalicelib.ports import Clock, DocumentStore, Ledger, StudyStore
    from chalicelib.services.intake import IntakeService
    from chalicelib.services.reading import Reader
    from chalicelib.services.timing import Deadline, Stopwatch

# API Gateway gives up on a function after so many seconds, counted from when it took the request.
GATEWAY_SECONDS = 29.0
# What the rest of an answer may take once the image is decoded. Warm, gate, prediction, report and
# storing take 0.1 s (docs/figures.md), and a busy machine ten times that. The transaction waits up
# to 5 s where a client's studies meet at its counter: that is so for a queued study as well.
AFTER_DECODING = 6.0
# Decoding comes on top once the pack is loaded. The slowest real file takes 0.5 s; an image of all
# the pixels that we take, some seconds.
AFTER_LOADING = AFTER_DECODING + 3.0


@dataclass(frozen=True, slots=True)
class AnalysisService:
    """Analyses an image while the client waits, or queues it when that would take too long."""

    reader: Reader
    documents: DocumentStore
    studies: StudyStore
    ledger: Ledger
    intake: IntakeService
    clock: Clock

    def analyse(  # noqa: PLR0913 - all that a request brings
        self,
        caller: Caller,
        body: bytes,
        stopwatch: Stopwatch,
        deadline: Deadline,
        request_id: str = "",
        *,
        units: Units | None = None,
    ) -> Study:
        """Return the stored study with fresh links, or a queued one when time runs short.

        Short it is when the pack is not loaded, or the image not decoded, while enough is left of
        `deadline`. Once a prediction was made nothing is queued any more, so none is made twice.
        The laps `decode`, `gate`, `predict`, `report` and `store` go to `stopwatch`.
        Raises what the ports raise, NotAChestXray, or QuotaExceeded; in each of these cases
        no study is kept and nothing is metered.
        """
        created_at, units = self.clock(), units or Units(self.ledger, caller)
        units.refuse_without(self.clock)
        radiograph = None
        if self.reader.classifier.warm(max(0.0, deadline.left() - AFTER_LOADING)):
            with stopwatch.lap("decode"):
                radiograph = self._decode(body, deadline.left() - AFTER_DECODING)
        if radiograph is None or deadline.left() < AFTER_DECODING:
            with stopwatch.lap("store"):
                return self.intake.enqueue(caller, body, request_id=request_id, units=units)
        with stopwatch.lap("gate"):
            quality = pass_gate(self.reader.gate, caller.client, radiograph)
        with stopwatch.lap("predict"):
            prediction = self.reader.classifier.predict(radiograph)
        begun = Study(
            id=new_id("st"),
            status=StudyStatus.RUNNING,
            created_at=created_at,
            mode=caller.key.mode,
        )
        study = succeeded(begun, radiograph, quality, prediction, self.clock())
        with stopwatch.lap("report"):
            files = written(self.reader.writer, study, radiograph, prediction)
        with stopwatch.lap("store"):
            self._store(caller, study, files, units)
            return with_links(study, self.documents, caller.client.id)

    def _decode(self, body: bytes, seconds: float) -> Radiograph | None:
        """Return the radiograph, None when it takes longer than `seconds`."""
        if seconds <= 0:
            return None
        decoding: Future[Radiograph] = Future()

        def decode() -> None:
            try:
                decoding.set_result(self.reader.decoder.decode(body))
            except BaseException as error:  # noqa: BLE001 - handed over to whoever waits
                decoding.set_exception(error)

        # A thread, since nothing else lets go of a decoder that hangs. It ends by its own limits.
        threading.Thread(target=decode, daemon=True).start()
        try:
            return decoding.result(seconds)
        except TimeoutError:
            return None

    def _store(self, caller: Caller, study: Study, files: dict[str, bytes], units: Units) -> None:
        # The documents go first, so that a study never points at nothing. What a crash after them
        # leaves is named by no study: the sweeper erases it when the client's retention is over.
        owner = caller.client.id
        try:
            for name, body in files.items():
                self.documents.put(owner, study.id, name, body)
        except RadgateError:
            self._erase(owner, study.id, files)  # also what was just put, and perhaps stored
            raise
        try:
            self.studies.add(caller, study)
            units.spent()
        except QuotaExceeded:
            units.forget()
            # Certain not to be stored. After a StorageUnavailable it may be: keep them.
            self._erase(owner, study.id, files)
            raise

    def _erase(self, owner: str, study_id: str, names: Iterable[str]) -> None:
        """Erase documents, as far as the storage lets us: the sweeper comes for the others."""
        for name in names:
            with suppress(StorageUnavailable):
                self.documents.delete(owner, study_id, name)
