"""The main job: a radiograph in, a study with findings and a report out, or one in the queue."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from chalicelib.domain import Study, StudyStatus, new_id
from chalicelib.errors import QuotaExceeded, RadgateError, StorageUnavailable
from chalicelib.services.links import with_links
from chalicelib.services.quota import Units
from chalicelib.services.reading import pass_gate, succeeded, written
from chalicelib.services.timing import AFTER_STORING, awaited, in_time, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from chalicelib.domain import Caller, Quality, Radiograph
    from chalicelib.ports import Clock, DocumentStore, Ledger, StudyStore
    from chalicelib.services.intake import IntakeService
    from chalicelib.services.reading import Reader
    from chalicelib.services.timing import Deadline, Stopwatch

# API Gateway gives up on a function after so many seconds, counted from when it took the request.
GATEWAY_SECONDS = 29.0
# What the rest of an answer may take once the image is decoded. Warm, gate, prediction, report and
# storing take 0.1 s (docs/figures.md), and a busy machine ten times that. The transaction may wait
# for 5 s where dozens of a client's studies meet at its counter: a queued study's would as well.
AFTER_DECODING = 6.0
# The same once the gate has judged the image.
AFTER_GATE = 4.0
# What is left when the documents are waited for no longer: a transaction takes 0.02 s, and the
# answer less.
AFTER_DOCUMENTS = 2.0
# Decoding comes on top once the pack is loaded. The slowest real file takes 0.5 s; an image of all
# the pixels that we take, some seconds.
AFTER_LOADING = AFTER_DECODING + 3.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request."""

    caller: Caller
    body: bytes
    stopwatch: Stopwatch
    deadline: Deadline
    request_id: str
    units: Units


@dataclass(frozen=True, slots=True)
class AnalysisService:
    """Analyses an image while the client waits, or queues it when that would take too long.

    `reader` returns what reads images; its first call may have to import it from a cold mount.
    """

    reader: Callable[[], Reader]
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

        Short it is when the packages are not imported, the pack not loaded, or the image not
        decoded and judged, while enough is left of `deadline`. Once a prediction was made nothing
        is queued, so none is made twice.
        The laps `decode`, `gate`, `predict`, `report` and `store` go to `stopwatch`.
        Raises what the ports raise, NotAChestXray, or QuotaExceeded; in each of these cases
        no study is kept and nothing is metered. A storage that does not answer while there is time
        is StorageUnavailable. Only where the transaction was under way by then may it be kept.
        """
        asked = _Asked(
            caller, body, stopwatch, deadline, request_id, units or Units(self.ledger, caller)
        )
        created_at = self.clock()
        awaited(lambda: asked.units.refuse_without(self.clock), deadline)
        opened = self._open(asked)
        if opened is None:
            with stopwatch.lap("store"):
                return awaited(lambda: self._enqueue(asked), deadline)
        reader, radiograph, quality = opened
        with stopwatch.lap("predict"):
            prediction = reader.classifier.predict(radiograph)
        begun = Study(
            id=new_id("st"),
            status=StudyStatus.RUNNING,
            created_at=created_at,
            mode=caller.key.mode,
        )
        study = succeeded(begun, radiograph, quality, prediction, self.clock())
        with stopwatch.lap("report"):
            files = written(reader.writer, study, radiograph, prediction)
        with stopwatch.lap("store"):
            self._put(caller.client.id, study, files, deadline)
            self._store(asked, study, files)
            return with_links(study, self.documents, caller.client.id)

    def _open(self, asked: _Asked) -> tuple[Reader, Radiograph, Quality] | None:
        """Return the image and the gate's judgement; None when they come too late to predict."""
        deadline = asked.deadline
        try:
            reader = in_time(self.reader, deadline.left() - AFTER_LOADING)
            if not reader.classifier.warm(max(0.0, deadline.left() - AFTER_LOADING)):
                return None
            with asked.stopwatch.lap("decode"):
                # A decoder that hangs ends by its own limits.
                decode = partial(reader.decoder.decode, asked.body)
                radiograph = in_time(decode, deadline.left() - AFTER_DECODING)
        except TimeoutError:
            return None
        if deadline.left() < AFTER_DECODING:
            return None
        with asked.stopwatch.lap("gate"):
            quality = pass_gate(reader.gate, asked.caller.client, radiograph)
        return None if deadline.left() < AFTER_GATE else (reader, radiograph, quality)

    def _enqueue(self, asked: _Asked) -> Study:
        return self.intake.enqueue(
            asked.caller, asked.body, request_id=asked.request_id, units=asked.units
        )

    def _put(
        self, owner: str, study: Study, files: Mapping[str, bytes], deadline: Deadline
    ) -> None:
        """Store the documents beside each other: all of them, or none as far as that is possible.

        They go before the study, so that one never points at nothing. What a crash after them
        leaves is named by no study: the sweeper erases it when the client's retention is over.
        """
        given_up = threading.Event()

        def put(name: str, body: bytes) -> None:
            self.documents.put(owner, study.id, name, body)
            if given_up.is_set():  # no study will name it: who comes too late clears up
                self.documents.delete(owner, study.id, name)

        calls = [partial(put, name, body) for name, body in files.items()]
        try:
            side_by_side(calls, deadline, AFTER_DOCUMENTS)
        except (RadgateError, TimeoutError) as error:
            given_up.set()
            self._erase(owner, study, files, deadline)  # also what may be stored after all
            if isinstance(error, TimeoutError):
                raise StorageUnavailable("The report storage is too slow just now.") from None
            raise

    def _store(self, asked: _Asked, study: Study, files: Mapping[str, bytes]) -> None:
        caller, deadline = asked.caller, asked.deadline
        try:
            awaited(lambda: self.studies.add(caller, study), deadline)
            asked.units.spent()
        except QuotaExceeded:
            asked.units.forget()
            # Certain not to be stored. After a StorageUnavailable it may be: keep them.
            self._erase(caller.client.id, study, files, deadline)
            raise

    def _erase(self, owner: str, study: Study, names: Iterable[str], deadline: Deadline) -> None:
        """Erase documents, as far as storage and time let us: the sweeper comes for the others."""

        def erase() -> None:
            for name in names:
                with suppress(StorageUnavailable):
                    self.documents.delete(owner, study.id, name)

        with suppress(TimeoutError):
            in_time(erase, deadline.left() - AFTER_STORING)
