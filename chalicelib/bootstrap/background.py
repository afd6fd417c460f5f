"""What runs without a request: worker, sweeper, deliveries."""

# ruff: noqa: PLC0415 - imports stand where they are first needed; that is the point here

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

from chalicelib.bootstrap.base import now
from chalicelib.bootstrap.inference import reader
from chalicelib.bootstrap.operation import explain, monitor, stopwatch
from chalicelib.bootstrap.queues import job_queue, outbox
from chalicelib.bootstrap.requests import erasure
from chalicelib.bootstrap.stores import (
    client_objects,
    delivery_store,
    directory,
    document_store,
    job_store,
    source_store,
    study_store,
)
from chalicelib.settings import settings

if TYPE_CHECKING:
    from chalicelib.services.delivering import DeliveryService
    from chalicelib.services.ending import Endings
    from chalicelib.services.sweeper import SweeperService
    from chalicelib.services.worker import WorkerService


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
        retry=timedelta(seconds=settings().retry_seconds),
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


@cache
def sweeper() -> SweeperService:
    """Return what comes once a minute."""
    from chalicelib.aws import table
    from chalicelib.reports.folders import S3StudyFolders
    from chalicelib.services.expiring import RetentionService
    from chalicelib.services.sweeper import SweeperService
    from chalicelib.tenants.retention import DynamoRetentionStore
    from chalicelib.tenants.uploads import DynamoSpentUploads

    return SweeperService(
        jobs=job_store(),
        queue=job_queue(),
        deliveries=delivery_store(),
        outbox=outbox(),
        uploads=DynamoSpentUploads(table(settings().table)),
        sources=source_store(),
        retention=RetentionService(
            store=DynamoRetentionStore(table(settings().table)),
            folders=S3StudyFolders(client_objects(), settings().bucket),
            erasure=erasure(),
            monitor=monitor("sweep"),
            clock=now,
        ),
        erasure=erasure(),
        endings=endings("sweep"),
        monitor=monitor("sweep"),
        clock=now,
    )


@cache
def delivering() -> DeliveryService:
    """Return what mails and calls webhooks."""
    from chalicelib.aws import ses, table
    from chalicelib.delivery.mail import MailCourier
    from chalicelib.delivery.webhook import Network, WebhookCourier
    from chalicelib.services.delivering import DeliveryService
    from chalicelib.services.switching import Switch
    from chalicelib.tenants.deployment import DeploymentReader
    from chalicelib.tenants.webhooks import DynamoHealthStore, DynamoSecretStore

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
        switch=Switch(DynamoHealthStore(ours), monitor("deliver"), now),
        monitor=monitor("deliver"),
        clock=now,
    )
