"""What the services need of the world, as Protocols that adapters and fakes satisfy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from chalicelib.domain import (
        ApiKey,
        Caller,
        Client,
        Heatmap,
        Link,
        ModelFacts,
        Prediction,
        Quality,
        Radiograph,
        Study,
        StudyPage,
        StudyStatus,
        Usage,
    )


class Clock(Protocol):
    """Tells the time."""

    def __call__(self) -> datetime:
        """Return now as an aware time in UTC."""


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


class DocumentStore(Protocol):
    """Keeps a study's documents, each under its client's own prefix, each by its name.

    Every method raises NotFound for an id or a name that cannot have been given out.
    """

    def put(self, client_id: str, study_id: str, name: str, body: bytes) -> None:
        """Store a document; storing it again replaces it. Raises StorageUnavailable."""

    def link(self, client_id: str, study_id: str, name: str) -> Link:
        """Return a freshly signed link, valid for 15 minutes. Raises StorageUnavailable."""

    def delete(self, client_id: str, study_id: str, name: str) -> None:
        """Erase a document; one that is not there is no error. Raises StorageUnavailable."""


class StudyStore(Protocol):
    """Keeps studies, each under its client; no method can reach another client's."""

    def add(self, caller: Caller, study: Study) -> None:
        """Store a new study and, for a live key, meter one unit, both or neither.

        Raises QuotaExceeded (nothing is stored) or StorageUnavailable.
        """

    def get(self, client_id: str, study_id: str) -> Study:
        """Return a study without its link. Raises NotFound or StorageUnavailable."""

    def page(
        self, client_id: str, limit: int, cursor: str | None, status: StudyStatus | None
    ) -> StudyPage:
        """Return studies newest first, without links. Raises InvalidRequest for a bad cursor."""


class Ledger(Protocol):
    """Counts what clients pay for."""

    def usage(self, client: Client) -> Usage:
        """Return the live studies of the current period. Raises StorageUnavailable."""


class Directory(Protocol):
    """Knows clients and keys."""

    def identify(self, sha256: str) -> Caller | None:
        """Return whose key has this SHA-256, whatever its state. Raises StorageUnavailable."""

    def keys(self, client_id: str) -> tuple[ApiKey, ...]:
        """Return the client's keys, oldest first. Raises StorageUnavailable."""

    def note_use(self, key: ApiKey, at: datetime) -> None:
        """Note that a key was used, unless that was noted less than a minute before `at`.

        Raises StorageUnavailable.
        """
