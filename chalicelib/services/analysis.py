"""The main job: a radiograph in, a study with findings and a report out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.domain import Study, StudyStatus, leading_label, new_id
from chalicelib.errors import NotAChestXray, QuotaExceeded

if TYPE_CHECKING:
    from chalicelib.domain import Caller, Quality, Radiograph
    from chalicelib.ports import (
        Classifier,
        Clock,
        Decoder,
        Gate,
        Ledger,
        ReportStore,
        ReportWriter,
        StudyStore,
    )
    from chalicelib.services.timing import Stopwatch


@dataclass(frozen=True, slots=True)
class AnalysisService:
    """Analyses an image while the client waits."""

    decoder: Decoder
    gate: Gate
    classifier: Classifier
    writer: ReportWriter
    reports: ReportStore
    studies: StudyStore
    ledger: Ledger
    clock: Clock

    def analyse(self, caller: Caller, body: bytes, stopwatch: Stopwatch) -> Study:
        """Return the stored study with a fresh link to its report.

        The laps `decode`, `gate`, `predict`, `report` and `store` go to `stopwatch`.
        Raises what the ports raise, NotAChestXray, or QuotaExceeded; in each of these cases
        no study is kept and nothing is metered.
        """
        created_at = self.clock()
        self._refuse_without_units(caller)
        with stopwatch.lap("decode"):
            radiograph = self.decoder.decode(body)
        with stopwatch.lap("gate"):
            quality = self._pass_gate(radiograph)
        with stopwatch.lap("predict"):
            prediction = self.classifier.predict(radiograph)
        study = Study(
            id=new_id("st"),
            status=StudyStatus.SUCCEEDED,
            created_at=created_at,
            completed_at=self.clock(),
            label=leading_label(prediction.findings),
            findings=prediction.findings,
            model=prediction.model,
            image=radiograph.info,
            quality=quality,
            mode=caller.key.mode,
        )
        with stopwatch.lap("report"):
            pdf = self.writer.write(study, radiograph, prediction.heatmaps, self.classifier.facts())
        with stopwatch.lap("store"):
            self._store(caller, study, pdf)
            link = self.reports.link(caller.client.id, study.id)
        return study.model_copy(update={"report": link})

    def _refuse_without_units(self, caller: Caller) -> None:
        # Only to spare the work: the transaction in `StudyStore.add` is what holds the limit.
        if caller.key.mode == "test":
            return
        usage = self.ledger.usage(caller.client)
        if usage.remaining == 0:
            period = caller.client.plan.studies.period
            raise QuotaExceeded.until(usage.resets_at, usage.limit, period, self.clock())

    def _pass_gate(self, radiograph: Radiograph) -> Quality:
        quality = self.gate.judge(radiograph)
        if not quality.accepted:
            raise NotAChestXray(
                "The image was not accepted as a frontal chest X-ray: "
                f"{', '.join(quality.reasons)}."
            )
        return quality

    def _store(self, caller: Caller, study: Study, pdf: bytes) -> None:
        # The report goes first, so that a study never points at nothing. A crash after it
        # leaves one object that no study names; the bucket's lifecycle removes it.
        self.reports.put(caller.client.id, study.id, pdf)
        try:
            self.studies.add(caller, study)
        except QuotaExceeded:
            # Certain not to be stored. After a StorageUnavailable it may be: keep the report.
            self.reports.delete(caller.client.id, study.id)
            raise
