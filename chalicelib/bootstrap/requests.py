"""What answers requests."""

# ruff: noqa: PLC0415 - imports stand where they are first needed; that is the point here

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from chalicelib.bootstrap.base import now
from chalicelib.bootstrap.inference import predictor, reader
from chalicelib.bootstrap.queues import job_queue
from chalicelib.bootstrap.stores import (
    directory,
    document_store,
    job_store,
    ledger,
    source_store,
    study_store,
)
from chalicelib.settings import settings

if TYPE_CHECKING:
    from chalicelib.portal.pages import Pages
    from chalicelib.services.account import AccountService
    from chalicelib.services.analysis import AnalysisService
    from chalicelib.services.erasure import ErasureService
    from chalicelib.services.identity import IdentityService
    from chalicelib.services.intake import IntakeService
    from chalicelib.services.models import ModelService
    from chalicelib.services.studies import StudyService


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

    return AccountService(directory())


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
    """Return the main job. Its first study imports what reads images, torch last."""
    from chalicelib.services.analysis import AnalysisService

    return AnalysisService(
        reader=reader,
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
    from chalicelib.services.timing import pause
    from chalicelib.tenants.intake import DynamoIntake

    return IntakeService(
        sources=source_store(),
        intake=DynamoIntake(table(settings().table), now, pause),
        jobs=job_store(),
        queue=job_queue(),
        ledger=ledger(),
        clock=now,
    )


@cache
def erasure() -> ErasureService:
    """Return what erases studies."""
    from chalicelib.aws import table
    from chalicelib.services.erasure import ErasureService
    from chalicelib.services.erasure_log import LoggedErasure
    from chalicelib.telemetry import note
    from chalicelib.tenants.erasure import DynamoErasure

    erasure = LoggedErasure(DynamoErasure(table(settings().table), now), note)
    return ErasureService(erasure, document_store(), source_store())


@cache
def pages() -> Pages:
    """Return what is shown in a browser."""
    from chalicelib.aws import objects_origin
    from chalicelib.portal.pages import Pages

    return Pages(lambda: objects_origin(settings().bucket))
