"""What the services need of the world, as Protocols that adapters and fakes satisfy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from chalicelib.domain import (
        ApiKey,
        Caller,
        Client,
        Delivery,
        Ended,
        Heatmap,
        Idempotency,
        Job,
        Link,
        Message,
        ModelFacts,
        Outcome,
        Prediction,
        Quality,
        Radiograph,
        SigningSecrets,
        Study,
        StudyPage,
        StudyStatus,
        Upload,
        UploadForm,
        Usage,
    )

Unit = Literal["Count", "Milliseconds", "Seconds"]


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

    def delete_all(self, client_id: str, study_id: str) -> None:
        """Erase every document of a study; none there is no error. Raises StorageUnavailable."""


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

    def client(self, client_id: str) -> Client | None:
        """Return a client as it is now. Raises StorageUnavailable."""

    def keys(self, client_id: str) -> tuple[ApiKey, ...]:
        """Return the client's keys, oldest first. Raises StorageUnavailable."""

    def note_use(self, key: ApiKey, at: datetime) -> None:
        """Note that a key was used, unless that was noted less than a minute before `at`.

        Raises StorageUnavailable.
        """


class SourceStore(Protocol):
    """Keeps posted bytes until their study is done. Every method raises StorageUnavailable."""

    def form(self, upload: Upload) -> UploadForm:
        """Return a presigned POST that takes exactly this upload, its size and its type."""

    def put(self, object_name: str, body: bytes) -> None:
        """Store bytes that came with the request itself."""

    def get(self, object_name: str) -> bytes:
        """Return the bytes. Raises NotFound when there are none, PayloadTooLarge beyond our cap."""

    def size(self, object_name: str) -> int | None:
        """Return how many bytes have arrived, None while there are none."""

    def delete(self, object_name: str) -> None:
        """Erase the bytes; none there is no error."""


class Intake(Protocol):
    """Takes studies in: whatever makes a study exist is one transaction.

    Every method raises StorageUnavailable.
    """

    def add_upload(self, upload: Upload) -> None:
        """Remember an upload until its `expires_at`."""

    def upload(self, client_id: str, upload_id: str) -> Upload:
        """Return an upload of this client. Raises NotFound, also once it was used or expired."""

    def known(self, client_id: str, idempotency: Idempotency) -> Study | None:
        """Return the study that this key made, None for a new key. Raises IdempotencyConflict."""

    def enqueue(
        self,
        caller: Caller,
        study: Study,
        job: Job,
        idempotency: Idempotency | None = None,
        upload_id: str | None = None,
    ) -> Study:
        """Store a queued study with its job and meter one unit of a live key, all or nothing.

        An upload is used up by it. Returns the study that stands: the given one, or the one that
        the idempotency key made before. Raises QuotaExceeded, IdempotencyConflict, or NotFound
        for an upload that is no longer there.
        """


class JobStore(Protocol):
    """Moves queued studies on, each step under a condition; none ever goes backwards.

    Every method raises StorageUnavailable.
    """

    def begin(self, client_id: str, study_id: str) -> Job | None:
        """Lease a queued study, or a running one whose lease has run out; count the attempt.

        None when there is nothing to do: it is finished, erased, unknown, or another has it.
        """

    def finish(self, job: Job, study: Study, deliveries: Sequence[Delivery] = ()) -> bool:
        """Store a result and what must be told of it, and drop the job, all or nothing.

        False when the lease is no longer this job's or the study was erased meanwhile.
        """

    def fail(self, job: Job, study: Study, deliveries: Sequence[Delivery] = ()) -> bool:
        """Store a failure, give the metered unit back and drop the job; otherwise as `finish`."""

    def release(self, job: Job) -> None:
        """Give the lease up before its time, so that the next attempt need not wait for it."""

    def ended(self, client_id: str, study_id: str) -> Ended | None:
        """Return how a study ended, None while it has not, or when it is unknown."""

    def stuck(self, before: datetime) -> Iterator[Job]:
        """Yield the jobs made before `before` that nobody has a lease on, the oldest first.

        In order within each of several parts, that is, which take turns in being the first. The
        jobs of studies that were erased are among them, until their erasure is complete.
        """

    def note_ring(self, job: Job, at: datetime) -> None:
        """Note that the job's message was sent again; nothing when it has moved on meanwhile."""

    def waiting(self, client_id: str, at_most: int) -> int:
        """Return how many of a client's studies are queued, counting no further than `at_most`."""


class Erasure(Protocol):
    """Forgets studies. Every method raises StorageUnavailable."""

    def begin(self, client_id: str, study_id: str) -> Job:
        """Make a study of any state `deleted`, and keep a job that remembers its objects.

        Of the study stay its id, its `created_at` and its mode. The job has no lease, so that a
        worker that is at it can no longer finish; it lies where `JobStore.stuck` finds it until
        `end`. Twice is no error. Raises NotFound.
        """

    def end(self, job: Job) -> None:
        """Drop the job, unless a worker may still be at the study: then the sweeper comes again."""


class RetentionStore(Protocol):
    """Finds the studies whose time is over. Every method raises StorageUnavailable."""

    def turn(self, at_most: int) -> tuple[Client, ...]:
        """Return the clients whose turn it is, by id; after the last one it is the first one's."""

    def note_turn(self, client_id: str) -> None:
        """Note that this client has had its turn, so that the next run goes on behind it."""

    def old(self, client_id: str, before: datetime, at_most: int) -> tuple[str, ...]:
        """Return the ids of studies made before `before`, oldest first, but for those noted."""

    def note_erased(self, client_id: str, study_id: str) -> None:
        """Note that this study, and every older one of the client, was erased."""


class Monitor(Protocol):
    """Tells the operator what happens, never what is in an image. No method raises."""

    def note(self, event: str, **facts: str | float | None) -> None:
        """Write a line of the log."""

    def measure(self, metric: str, value: float, unit: Unit, **dimensions: str) -> None:
        """Add a value to a metric."""

    def defect(self, event: str, error: Exception, **facts: str | float | None) -> None:
        """Write where and of what kind an error is that is ours; never its text."""


class JobQueue(Protocol):
    """Carries messages to the workers, at least once, in no order."""

    def send(self, message: Message, *, bulk: bool) -> None:
        """Send; `bulk` for a client that already has many waiting. Raises StorageUnavailable."""


class DeliveryStore(Protocol):
    """Remembers what must be told. Every method raises StorageUnavailable."""

    def get(self, client_id: str, event_id: str, channel: str) -> Delivery | None:
        """Return a delivery, None when there is no such one."""

    def add(self, delivery: Delivery) -> None:
        """Store a delivery that no study's end has stored, such as a test."""

    def advance(self, before: Delivery, after: Delivery) -> bool:
        """Replace `before`, if it still stands, by `after`. False when another was faster."""

    def due(self, now: datetime) -> Iterator[Delivery]:
        """Yield the pending deliveries whose `next_at` has come."""

    def log(self, client_id: str, limit: int) -> tuple[Delivery, ...]:
        """Return a client's deliveries, newest first."""


class Outbox(Protocol):
    """Carries deliveries to the function that makes them, at least once."""

    def send(self, delivery: Delivery) -> None:
        """Send, to arrive at `next_at`; what is due in more than 10 minutes is not sent at all.

        The sweeper rings for it when its time has come. Raises StorageUnavailable.
        """


class Courier(Protocol):
    """Tells a client an event over one channel."""

    def tell(self, client: Client, delivery: Delivery) -> Outcome:
        """Try once. Whatever the other side does is an outcome and no error.

        Raises StorageUnavailable when something of our own did not answer.
        """


class SecretStore(Protocol):
    """Keeps what signs the events of each client."""

    def secrets(self, client_id: str) -> SigningSecrets | None:
        """Return them as they are now, None without a webhook. Raises StorageUnavailable."""
