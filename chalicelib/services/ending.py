"""How a queued study ends, whoever brings it to its end: one write, then what follows from it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.domain import MAX_ATTEMPTS, Study, StudyStatus
from chalicelib.errors import NotFound, StorageUnavailable
from chalicelib.services.delivering import deliveries_for
from chalicelib.services.links import document_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from chalicelib.domain import Client, Delivery, Ended, Job
    from chalicelib.errors import RadgateError
    from chalicelib.ports import (
        Clock,
        Directory,
        DocumentStore,
        JobStore,
        Monitor,
        Outbox,
        SourceStore,
        StudyStore,
    )

# From this status on it is our fault and not the image's.
OURS = 500


@dataclass(frozen=True, slots=True)
class Endings:
    """Ends queued studies, and clears up behind those that others have ended.

    `explain` turns an error, or None for a defect of ours, into the problem that the client sees,
    given the id to quote.
    """

    jobs: JobStore
    studies: StudyStore
    directory: Directory
    documents: DocumentStore
    sources: SourceStore
    outbox: Outbox
    explain: Callable[[RadgateError | None, str], dict[str, str | int | list[str]]]
    monitor: Monitor
    clock: Clock

    def succeed(self, client: Client, job: Job, study: Study, files: Mapping[str, bytes]) -> None:
        """Store the documents and the result, then erase the posted bytes and send the notices.

        Nothing but clearing up when the lease was lost. Raises StorageUnavailable, also after the
        result was stored; whoever comes next then does what is left.
        """
        held = self._keep(job, files)
        if held is None:
            self.clear_up(job.client_id, job.study_id)
            return
        deliveries = deliveries_for(client, study, self.clock(), job.request_id)
        stored = self.jobs.finish(held, study, deliveries)
        self._end(held, study, deliveries, stored=stored)
        if stored and held.attempt > 1:  # beside a first attempt that ends it there was no other
            self._drop_others(client.id, study)

    def _drop_others(self, client_id: str, study: Study) -> None:
        """Erase what another attempt has left and the result does not have: another pack's heatmap.

        Not before the result is stored: until then the other may still be the one that wins.
        """
        own = document_names(study)
        for name in self.documents.states(client_id, study.id):
            if name not in own:
                self.documents.delete(client_id, study.id, name)

    def _keep(self, job: Job, files: Mapping[str, bytes]) -> Job | None:
        """Store the documents and return the job as it is held; None when it is another's by now.

        Another worker may have the study by the time we write, and with it another pack's answer.
        So the lease is proven between looking and writing: whoever gets it after that writes later
        than we looked, and either our writing is refused or theirs is and they look again. What
        stays is of the last to hold the lease, as is the study's row.

        A first attempt takes it for seen that nothing is there: whoever comes between comes later.
        """
        first = job.attempt == 1
        for _ in range(MAX_ATTEMPTS + 1):  # so many can at most be at it, each refusing us once
            seen = {} if first else self.documents.states(job.client_id, job.study_id)
            first = False
            held = self.jobs.renew(job)
            if held is None:
                return None
            if all(
                self.documents.put_over(job.client_id, job.study_id, name, body, seen.get(name))
                for name, body in files.items()
            ):
                return held
        raise StorageUnavailable("The report storage does not keep what is put there.")

    def fail(self, job: Job, error: RadgateError | None) -> None:
        """End a study with `error`, None for a defect, and give its unit back; as `succeed`."""
        problem = self.explain(error, job.request_id or job.study_id)
        study = Study(
            id=job.study_id,
            status=StudyStatus.FAILED,
            created_at=job.created_at,
            completed_at=self.clock(),
            mode=job.mode,
            error=problem,
        )
        client = self.directory.client(job.client_id)
        told = client is not None and client.deleting_at is None
        deliveries: tuple[Delivery, ...] = ()
        if client is not None and told:
            deliveries = deliveries_for(client, study, self.clock(), job.request_id)
        self._end(job, study, deliveries, stored=self.jobs.fail(job, study, deliveries))

    def clear_up(self, client_id: str, study_id: str) -> Ended | None:
        """Do what may have been left behind a study that has ended; None while it has not.

        Raises StorageUnavailable.
        """
        ended = self.jobs.ended(client_id, study_id)
        if ended is None:
            if self._is_gone(client_id, study_id):
                self.documents.delete_all(client_id, study_id)
            return None
        if ended.study.status is StudyStatus.DELETED:
            self.documents.delete_all(client_id, study_id)
        if ended.study.status is StudyStatus.SUCCEEDED:
            self._drop_others(client_id, ended.study)
        if ended.object_name and not is_ours(ended.study):
            self.sources.delete(ended.object_name)
        return ended

    def _is_gone(self, client_id: str, study_id: str) -> bool:
        """Tell whether the study went with its client."""
        try:
            self.studies.get(client_id, study_id)
        except NotFound:
            return True
        return False

    def _end(
        self, job: Job, study: Study, deliveries: tuple[Delivery, ...], *, stored: bool
    ) -> None:
        if not stored:
            self.clear_up(job.client_id, job.study_id)
            return
        self._tell(job, study)
        for delivery in deliveries:
            with suppress(StorageUnavailable):  # the sweeper finds what is due
                self.outbox.send(delivery)
        # A study that failed through our fault keeps its bytes: it may be queued anew from them.
        if not is_ours(study):
            self.sources.delete(job.object_name)

    def _tell(self, job: Job, study: Study) -> None:
        code = str(study.error["code"]) if study.error else ""
        waited = (self.clock() - job.created_at).total_seconds()
        end = {"status": study.status.value, "code": code, "seconds": waited}
        self.monitor.note("study", **job.facts(), **end)
        self.monitor.measure("StudyAge", waited, "Seconds")
        self.monitor.measure("StudiesEnded", 1, "Count", outcome=code or study.status.value)


def is_ours(study: Study) -> bool:
    """Tell whether a study has failed through our own fault."""
    return study.error is not None and int(str(study.error["status"])) >= OURS
