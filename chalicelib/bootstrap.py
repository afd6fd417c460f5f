"""The one place that names concrete adapters. Each is made on first use, torch last."""

# ruff: noqa: PLC0415 - imports stand where they are first needed; that is the point here

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from chalicelib.errors import ModelUnavailable
from chalicelib.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools import Tracer

    from chalicelib.aws import ClientSessions
    from chalicelib.delivery.batches import SqsBatches
    from chalicelib.delivery.notices import SqsNotices
    from chalicelib.errors import RadgateError
    from chalicelib.inference.predictor import Predictor
    from chalicelib.ports import (
        DeliveryStore,
        Directory,
        DocumentStore,
        JobQueue,
        JobStore,
        Ledger,
        Monitor,
        Outbox,
        SourceStore,
        StudyStore,
    )
    from chalicelib.runtime.sync import Sync
    from chalicelib.services.account import AccountService
    from chalicelib.services.analysis import AnalysisService
    from chalicelib.services.delivering import DeliveryService
    from chalicelib.services.ending import Endings
    from chalicelib.services.erasure import ErasureService
    from chalicelib.services.identity import IdentityService
    from chalicelib.services.intake import IntakeService
    from chalicelib.services.models import ModelService
    from chalicelib.services.reading import Reader
    from chalicelib.services.studies import StudyService
    from chalicelib.services.sweeper import SweeperService
    from chalicelib.services.timing import Stopwatch
    from chalicelib.services.worker import WorkerService

# What a tree of packages must be able to do before it may serve.
REHEARSAL = "chalicelib.inference.rehearsal:rehearse"


def now() -> datetime:
    """Return the time as an aware time in UTC."""
    return datetime.now(UTC)


@cache
def identity() -> IdentityService:
    """Return the check of keys; one for the process, since it holds the cache."""
    from chalicelib.services.identity import IdentityService
    from chalicelib.tenants.keys import fingerprint

    return IdentityService(directory(), fingerprint, now)


@cache
def account() -> AccountService:
    """Return what answers `GET /account`."""
    from chalicelib.services.account import AccountService

    return AccountService(directory(), ledger())


@cache
def studies() -> StudyService:
    """Return what reads studies."""
    from chalicelib.services.studies import StudyService

    return StudyService(study_store(), document_store())


@cache
def models() -> ModelService:
    """Return what tells of packs."""
    from chalicelib.services.models import ModelService

    return ModelService(predictor())


@cache
def analysis() -> AnalysisService:
    """Return the main job. The first call imports numpy, its first study torch."""
    from chalicelib.services.analysis import AnalysisService

    return AnalysisService(
        reader=reader(),
        documents=document_store(),
        studies=study_store(),
        ledger=ledger(),
        intake=intake(),
        clock=now,
    )


@cache
def intake() -> IntakeService:
    """Return what queues studies."""
    from chalicelib.aws import table
    from chalicelib.services.intake import IntakeService
    from chalicelib.tenants.intake import DynamoIntake

    return IntakeService(
        sources=source_store(),
        intake=DynamoIntake(table(settings().table), now),
        jobs=job_store(),
        queue=job_queue(),
        ledger=ledger(),
        clock=now,
    )


@cache
def worker() -> WorkerService:
    """Return what works on queued studies; what inference needs comes with the first of them."""
    from chalicelib.services.worker import WorkerService

    return WorkerService(
        jobs=job_store(),
        directory=directory(),
        sources=source_store(),
        reader=reader,
        endings=endings("worker"),
        monitor=monitor("worker"),
        clock=now,
        stopwatch=stopwatch,
    )


@cache
def reader() -> Reader:
    """Return what reads images. Raises ModelUnavailable where nothing can."""
    runtime()
    from chalicelib.inference.imaging import ImageDecoder
    from chalicelib.reports.pdf import PdfReportWriter
    from chalicelib.services.reading import Reader

    return Reader(
        decoder=ImageDecoder(gate=predictor()),
        gate=predictor(),
        classifier=predictor(),
        writer=PdfReportWriter(),
    )


@cache
def sweeper() -> SweeperService:
    """Return what comes once a minute."""
    from chalicelib.aws import table
    from chalicelib.services.sweeper import SweeperService
    from chalicelib.tenants.retention import DynamoRetentionStore

    return SweeperService(
        jobs=job_store(),
        queue=job_queue(),
        deliveries=delivery_store(),
        outbox=outbox(),
        retention=DynamoRetentionStore(table(settings().table)),
        erasure=erasure(),
        endings=endings("sweep"),
        monitor=monitor("sweep"),
        clock=now,
    )


def endings(function: str) -> Endings:
    """Return what ends queued studies."""
    from chalicelib.services.ending import Endings

    return Endings(
        jobs=job_store(),
        studies=study_store(),
        directory=directory(),
        documents=document_store(),
        sources=source_store(),
        outbox=outbox(),
        explain=explain,
        monitor=monitor(function),
        clock=now,
    )


def explain(error: RadgateError | None, request_id: str) -> dict[str, str | int]:
    """Return an error, or None for a defect of ours, as its client sees it."""
    from chalicelib.problems import defect_problem, problem_of

    problem = defect_problem() if error is None else problem_of(error)
    return problem.document(request_id)


@cache
def monitor(function: str) -> Monitor:
    """Return what the operator sees of a function."""
    from chalicelib.telemetry import PowertoolsMonitor

    return PowertoolsMonitor(settings().stage, function)


@cache
def tracer() -> Tracer:
    """Return what traces; only for a stage that is traced, since it takes a second to import."""
    from chalicelib.telemetry import tracer

    return tracer()


def stopwatch() -> Stopwatch:
    """Return a stopwatch, whose laps are in the trace where there is one.

    The X-Ray SDK is no part of the package, since it brings botocore along: without it, the trace
    has what Lambda itself puts into it.
    """
    from importlib.util import find_spec

    from chalicelib.services.timing import Stopwatch

    if not settings().tracing or find_spec("aws_xray_sdk") is None:
        return Stopwatch()
    from chalicelib.telemetry import TracedStopwatch

    return TracedStopwatch(tracer())


@cache
def batches() -> SqsBatches:
    """Return what takes SQS's events apart."""
    from chalicelib.aws import sqs
    from chalicelib.delivery.batches import SqsBatches

    urls = (settings().queue_url, settings().bulk_queue_url)
    return SqsBatches(sqs(), {url.rpartition("/")[2]: url for url in urls})


@cache
def erasure() -> ErasureService:
    """Return what erases studies."""
    from chalicelib.aws import table
    from chalicelib.services.erasure import ErasureService
    from chalicelib.tenants.erasure import DynamoErasure

    return ErasureService(
        DynamoErasure(table(settings().table), now), document_store(), source_store()
    )


@cache
def predictor() -> Predictor:
    """Return the active pack; its weights are read on the first prediction."""
    runtime()
    from chalicelib.inference.predictor import Predictor

    return Predictor(settings().model_dir, threads=settings().threads)


@cache
def runtime() -> None:
    """Make importable what inference needs: the active tree on the mount, where there is one.

    Raises ModelUnavailable when torch is neither there nor installed beside our code.
    """
    from importlib.util import find_spec

    from chalicelib.runtime.loading import use_active_tree
    from chalicelib.runtime.manifest import TreeRefused

    try:
        use_active_tree(settings().runtime_dir)
    except TreeRefused as error:
        raise ModelUnavailable("the runtime is damaged") from error
    if find_spec("torch") is None:
        raise ModelUnavailable("no runtime is installed")


def runtime_sync(seconds_left: Callable[[], float]) -> Sync:
    """Return what brings trees onto the mount, for one call of the function `efs_sync`."""
    from chalicelib.aws import s3
    from chalicelib.runtime.store import S3Source
    from chalicelib.runtime.sync import Sync
    from chalicelib.runtime.trees import Trees
    from chalicelib.runtime.trial import Rehearsal

    source = S3Source(s3(), settings().bucket)
    # The last seconds are for noting down what came of it.
    trial = Rehearsal([REHEARSAL], lambda: seconds_left() - 10)
    return Sync(Trees(settings().runtime_dir), source, trial, seconds_left)


@cache
def directory() -> Directory:
    """Return the directory of clients and keys."""
    from chalicelib.aws import table
    from chalicelib.tenants.directory import DynamoDirectory

    return DynamoDirectory(table(settings().table))


@cache
def ledger() -> Ledger:
    """Return the usage ledger."""
    from chalicelib.aws import table
    from chalicelib.tenants.ledger import DynamoLedger

    return DynamoLedger(table(settings().table), now)


@cache
def study_store() -> StudyStore:
    """Return the store of studies."""
    from chalicelib.aws import table
    from chalicelib.tenants.studies import DynamoStudyStore

    return DynamoStudyStore(table(settings().table), now)


@cache
def document_store() -> DocumentStore:
    """Return the store of reports and heatmaps."""
    from chalicelib.reports.store import S3DocumentStore

    return S3DocumentStore(client_objects(), settings().bucket, now)


@cache
def client_objects() -> ClientSessions:
    """Return what reaches the objects of one client at a time; it holds the sessions."""
    from chalicelib.aws import ClientSessions, sts

    return ClientSessions(sts(), settings().data_role, settings().bucket)


@cache
def source_store() -> SourceStore:
    """Return the store of posted bytes."""
    from chalicelib.delivery.sources import S3SourceStore

    return S3SourceStore(client_objects(), settings().bucket, now)


@cache
def job_store() -> JobStore:
    """Return the store of queued studies and their leases."""
    from chalicelib.aws import table
    from chalicelib.tenants.jobs import DynamoJobStore

    return DynamoJobStore(table(settings().table), now)


@cache
def job_queue() -> JobQueue:
    """Return the two queues of the workers."""
    from chalicelib.aws import sqs
    from chalicelib.delivery.queue import SqsJobQueue

    return SqsJobQueue(sqs(), settings().queue_url, settings().bulk_queue_url)


@cache
def delivering() -> DeliveryService:
    """Return what mails and calls webhooks."""
    from chalicelib.aws import ses, table
    from chalicelib.delivery.mail import MailCourier
    from chalicelib.delivery.webhook import Network, WebhookCourier
    from chalicelib.services.delivering import DeliveryService
    from chalicelib.tenants.deployment import DeploymentReader
    from chalicelib.tenants.webhooks import DynamoSecretStore

    known = settings()
    ours = table(known.table)
    network = Network(loopback=known.webhook_loopback)
    deployment = DeploymentReader(ours)
    return DeliveryService(
        store=delivery_store(),
        directory=directory(),
        outbox=outbox(),
        couriers={
            "mail": MailCourier(
                ses, known.mail_from, deployment.api_url, known.mail_configuration_set
            ),
            "webhook": WebhookCourier(DynamoSecretStore(ours), now, network),
        },
        monitor=monitor("deliver"),
        clock=now,
    )


@cache
def notices() -> SqsNotices:
    """Return what takes the events of the queue of deliveries apart."""
    from chalicelib.delivery.notices import SqsNotices

    return SqsNotices(monitor("deliver"))


@cache
def delivery_store() -> DeliveryStore:
    """Return the store of deliveries."""
    from chalicelib.aws import table
    from chalicelib.tenants.deliveries import DynamoDeliveryStore

    return DynamoDeliveryStore(table(settings().table))


@cache
def outbox() -> Outbox:
    """Return the queue of deliveries."""
    from chalicelib.aws import sqs
    from chalicelib.delivery.outbox import SqsOutbox

    return SqsOutbox(sqs(), settings().delivery_queue_url, now)
