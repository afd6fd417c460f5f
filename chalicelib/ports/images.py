"""What turns bytes into findings and findings into documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chalicelib.domain import (
        Heatmap,
        ModelFacts,
        Prediction,
        Quality,
        Radiograph,
        Study,
    )


class Decoder(Protocol):
    """Turns bytes into a radiograph."""

    def decode(self, body: bytes) -> Radiograph:
        """Return the checked greyscale image, without any header.

        Raises UnsupportedMediaType, UnreadableImage, TooManyPixels or PayloadTooLarge.
        """


class Gate(Protocol):
    """Tells frontal chest radiographs from everything else."""

    def judge(self, radiograph: Radiograph) -> Quality:
        """Return the judgement; it never raises for an image that could be decoded."""


class Classifier(Protocol):
    """The active pack."""

    def predict(self, radiograph: Radiograph) -> Prediction:
        """Return findings and heatmaps. Raises ModelUnavailable."""

    def predict_many(self, radiographs: Sequence[Radiograph]) -> tuple[Prediction, ...]:
        """Return what `predict` would for each, in one forward pass. Raises ModelUnavailable."""

    def warm(self, timeout: float) -> bool:
        """Load the pack in the background; tell whether it is ready within `timeout` seconds.

        Loading goes on after a False, so that a later call finds it further. Raises
        ModelUnavailable when the pack cannot be loaded at all.
        """

    def facts(self) -> ModelFacts:
        """Return what is known of the active pack. Raises ModelUnavailable."""

    def installed(self) -> tuple[ModelFacts, ...]:
        """Return every readable pack in the model folder, the active one among them."""

    def prove(self) -> None:
        """Answer the pack's golden input. Raises ModelUnavailable when the answer is off."""


class ReportWriter(Protocol):
    """Turns a study into the documents that its client gets."""

    def write(
        self,
        study: Study,
        radiograph: Radiograph,
        heatmaps: tuple[Heatmap, ...],
        facts: ModelFacts,
    ) -> bytes:
        """Return the report as the bytes of a PDF file.

        The study must have its findings, quality and times. Raises ValueError without findings.
        """

    def paint(self, radiograph: Radiograph, heatmap: Heatmap) -> bytes:
        """Return a heatmap as the bytes of a PNG file to lay over the radiograph."""
