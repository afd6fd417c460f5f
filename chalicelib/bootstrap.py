"""The one place that names concrete adapters. Each is made on first use, torch last."""

# ruff: noqa: PLC0415 - imports stand where they are first needed; that is the point here

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from chalicelib.settings import settings

if TYPE_CHECKING:
    from chalicelib.aws import ClientSessions
    from chalicelib.inference.predictor import Predictor
    from chalicelib.ports import Directory, DocumentStore, Ledger, StudyStore
    from chalicelib.services.account import AccountService
    from chalicelib.services.analysis import AnalysisService
    from chalicelib.services.identity import IdentityService
    from chalicelib.services.models import ModelService
    from chalicelib.services.studies import StudyService


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
    """Return the main job. The first call imports torch."""
    from chalicelib.inference.imaging import ImageDecoder
    from chalicelib.reports.pdf import PdfReportWriter
    from chalicelib.services.analysis import AnalysisService

    return AnalysisService(
        decoder=ImageDecoder(gate=predictor()),
        gate=predictor(),
        classifier=predictor(),
        writer=PdfReportWriter(),
        documents=document_store(),
        studies=study_store(),
        ledger=ledger(),
        clock=now,
    )


@cache
def predictor() -> Predictor:
    """Return the active pack; its weights are read on the first prediction."""
    from chalicelib.inference.predictor import Predictor

    return Predictor(settings().model_dir, threads=settings().threads)


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
