"""Stand-ins for decoder, gate and classifier, so that services are tested without torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chalicelib.domain import (
    Finding,
    Heatmap,
    ImageInfo,
    LabelFacts,
    ModelFacts,
    ModelRef,
    Prediction,
    Quality,
    Radiograph,
)
from chalicelib.errors import ModelUnavailable, UnreadableImage
from chalicelib.ports import Classifier, Decoder, Gate

if TYPE_CHECKING:
    from collections.abc import Sequence

FACTS = ModelFacts(
    ref=ModelRef(name="fakenet", version="1", sha256="0" * 64),
    architecture="none",
    licence="MIT",
    labels=(
        LabelFacts(
            label="Cardiomegaly",
            threshold=0.5,
            auroc=0.9,
            auroc_low=0.88,
            auroc_high=0.92,
            dataset="none",
        ),
    ),
)

# A newer version of the same pack.
NEWER_FACTS = FACTS.model_copy(
    update={"ref": ModelRef(name="newernet", version="2", sha256="1" * 64)}
)


class FakeDecoder(Decoder):
    """Takes any bytes for a black square of 4 x 4, except those that begin with `broken`."""

    def decode(self, body: bytes) -> Radiograph:
        if body.startswith(b"broken"):
            raise UnreadableImage("The image is broken.")
        info = ImageInfo(format="PNG", width=4, height=4, sha256=hashlib.sha256(body).hexdigest())
        return Radiograph(info=info, pixels=bytes(16), maxval=255)


@dataclass
class FakeGate(Gate):
    """Answers what it is told to."""

    quality: Quality = field(default_factory=lambda: Quality(accepted=True, score=1.0))

    def judge(self, radiograph: Radiograph) -> Quality:
        del radiograph
        return self.quality


@dataclass
class FakeClassifier(Classifier):
    """Answers one finding; `working=False` makes it a pack that failed its checks.

    `loading`: seconds that it still takes to load; each `warm` takes its timeout off.
    `pack`: which one answers. `label`: what it looks for.
    """

    probability: float = 0.9
    working: bool = True
    predictions: int = 0
    passes: int = 0
    loading: float = 0.0
    pack: ModelFacts = FACTS
    label: str = "Cardiomegaly"

    def predict(self, radiograph: Radiograph) -> Prediction:
        [prediction] = self.predict_many((radiograph,))
        return prediction

    def predict_many(self, radiographs: Sequence[Radiograph]) -> tuple[Prediction, ...]:
        self.prove()
        self.passes += 1
        self.predictions += len(radiographs)
        return tuple(self._prediction(one) for one in radiographs)

    def warm(self, timeout: float) -> bool:
        self.prove()
        ready = self.loading <= timeout
        self.loading = max(0.0, self.loading - timeout)
        return ready

    def _prediction(self, radiograph: Radiograph) -> Prediction:
        finding = Finding(
            label=self.label,
            probability=self.probability,
            threshold=0.5,
            positive=self.probability >= 0.5,
        )
        box = (0.0, 0.0, float(radiograph.info.width), float(radiograph.info.height))
        heatmap = Heatmap(self.label, width=2, height=2, values=bytes([0, 9, 99, 255]), box=box)
        heatmaps = (heatmap,) if finding.positive else ()
        return Prediction(facts=self.pack, findings=(finding,), heatmaps=heatmaps)

    def facts(self) -> ModelFacts:
        self.prove()
        return self.pack

    def installed(self) -> tuple[ModelFacts, ...]:
        return (self.pack,)

    def prove(self) -> None:
        if not self.working:
            raise ModelUnavailable("The active pack failed its checks.")
