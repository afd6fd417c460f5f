"""From a decoded radiograph to a result, the same for who waits and for who has queued."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.domain import REPORT_NAME, StudyStatus, heatmap_name, leading_label, reasons_told
from chalicelib.errors import NotAChestXray

if TYPE_CHECKING:
    from datetime import datetime

    from chalicelib.domain import Client, Prediction, Quality, Radiograph, Study
    from chalicelib.ports import Classifier, Decoder, Gate, ReportWriter


@dataclass(frozen=True, slots=True)
class Reader:
    """What reads images: it needs the packages that inference needs."""

    decoder: Decoder
    gate: Gate
    classifier: Classifier
    writer: ReportWriter


def pass_gate(gate: Gate, client: Client, radiograph: Radiograph) -> Quality:
    """Return the gate's judgement. Raises NotAChestXray where the client wants it to block."""
    quality = gate.judge(radiograph)
    if not quality.accepted and client.gate_policy == "block":
        told = reasons_told(quality.reasons)
        raise NotAChestXray(
            f"The image was not accepted as a frontal chest X-ray: {told}.", quality.reasons
        )
    return quality


def succeeded(
    study: Study,
    radiograph: Radiograph,
    quality: Quality,
    prediction: Prediction,
    completed_at: datetime,
) -> Study:
    """Return the study with its result."""
    return study.model_copy(
        update={
            "status": StudyStatus.SUCCEEDED,
            "completed_at": completed_at,
            "label": leading_label(prediction.findings),
            "findings": prediction.findings,
            "model": prediction.model,
            "image": radiograph.info,
            "quality": quality,
        }
    )


def written(
    writer: ReportWriter, study: Study, radiograph: Radiograph, prediction: Prediction
) -> dict[str, bytes]:
    """Return the documents of a study that has its result, by name."""
    facts, heatmaps = prediction.facts, prediction.heatmaps
    return {
        REPORT_NAME: writer.write(study, radiograph, heatmaps, facts),
        **{heatmap_name(one.label): writer.paint(radiograph, one) for one in heatmaps},
    }
