"""The main job: a radiograph in, a study with findings and a report out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.domain import (
    REPORT_NAME,
    Study,
    StudyStatus,
    heatmap_name,
    leading_label,
    new_id,
)
from chalicelib.errors import NotAChestXray, QuotaExceeded
from chalicelib.services.links import with_links

if TYPE_CHECKING:
    from chalicelib.domain import Caller, Prediction, Quality, Radiograph
    from chalicelib.ports import (
        Classifier,
        Clock,
        Decoder,
        DocumentStore,
        Gate,
        Ledger,
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
    documents: DocumentStore
    studies: StudyStore
    ledger: Ledger
    clock: Clock

    def analyse(self, caller: Caller, body: bytes, stopwatch: Stopwatch) -> Study:
        """Return the stored study with fresh links to its report and heatmaps.

        The laps `decode`, `gate`, `predict`, `report` and `store` go to `stopwatch`.
        Raises what the ports raise, NotAChestXray, or QuotaExceeded; in each of these cases
        no study is kept and nothing is metered.
        """
        created_at = self.clock()
        self._refuse_without_units(caller)
        with stopwatch.lap("decode"):
            radiograph = self.decoder.decode(body)
        with stopwatch.lap("gate"):
            quality = self._pass_gate(caller, radiograph)
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
            files = self._write(study, radiograph, prediction)
        with stopwatch.lap("store"):
            self._store(caller, study, files)
            return with_links(study, self.documents, caller.client.id)

    def _write(
        self, study: Study, radiograph: Radiograph, prediction: Prediction
    ) -> dict[str, bytes]:
        """Return the study's documents by name."""
        facts, heatmaps = prediction.facts, prediction.heatmaps
        return {
            REPORT_NAME: self.writer.write(study, radiograph, heatmaps, facts),
            **{heatmap_name(one.label): self.writer.paint(radiograph, one) for one in heatmaps},
        }

    def _refuse_without_units(self, caller: Caller) -> None:
        # Only to spare the work: the transaction in `StudyStore.add` is what holds the limit.
        if caller.key.mode == "test":
            return
        usage = self.ledger.usage(caller.client)
        if usage.remaining == 0:
            period = caller.client.plan.studies.period
            raise QuotaExceeded.until(usage.resets_at, usage.limit, period, self.clock())

    def _pass_gate(self, caller: Caller, radiograph: Radiograph) -> Quality:
        quality = self.gate.judge(radiograph)
        if not quality.accepted and caller.client.gate_policy == "block":
            raise NotAChestXray(
                "The image was not accepted as a frontal chest X-ray: "
                f"{', '.join(quality.reasons)}."
            )
        return quality

    def _store(self, caller: Caller, study: Study, files: dict[str, bytes]) -> None:
        # The documents go first, so that a study never points at nothing. A crash after them
        # leaves objects that no study names; the bucket's lifecycle removes them.
        owner = caller.client.id
        for name, body in files.items():
            self.documents.put(owner, study.id, name, body)
        try:
            self.studies.add(caller, study)
        except QuotaExceeded:
            # Certain not to be stored. After a StorageUnavailable it may be: keep them.
            for name in files:
                self.documents.delete(owner, study.id, name)
            raise
