"""What lies in the table and in the bucket."""

# ruff: noqa: PLC0415 - imports stand where they are first needed; that is the point here

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from chalicelib.bootstrap.base import now
from chalicelib.settings import settings

if TYPE_CHECKING:
    from chalicelib.aws import ClientSessions
    from chalicelib.ports import (
        DeliveryStore,
        Directory,
        DocumentStore,
        JobStore,
        Ledger,
        SourceStore,
        StudyStore,
    )


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
    from chalicelib.services.timing import pause
    from chalicelib.tenants.studies import DynamoStudyStore

    return DynamoStudyStore(table(settings().table), now, pause)


@cache
def job_store() -> JobStore:
    """Return the store of queued studies and their leases."""
    from chalicelib.aws import table
    from chalicelib.tenants.jobs import DynamoJobStore

    return DynamoJobStore(table(settings().table), now)


@cache
def delivery_store() -> DeliveryStore:
    """Return the store of deliveries."""
    from chalicelib.aws import table
    from chalicelib.tenants.deliveries import DynamoDeliveryStore

    return DynamoDeliveryStore(table(settings().table))


@cache
def document_store() -> DocumentStore:
    """Return the store of reports and heatmaps."""
    from chalicelib.reports.store import S3DocumentStore

    return S3DocumentStore(client_objects(), settings().bucket, now)


@cache
def source_store() -> SourceStore:
    """Return the store of posted bytes."""
    from chalicelib.delivery.sources import S3SourceStore

    return S3SourceStore(client_objects(), settings().bucket, now)


@cache
def client_objects() -> ClientSessions:
    """Return what reaches the objects of one client at a time; it holds the sessions."""
    from chalicelib.aws import ClientSessions, sts

    return ClientSessions(sts(), settings().data_role, settings().bucket)
