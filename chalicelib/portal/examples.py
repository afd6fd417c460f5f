"""One example of everything that is sent or answered, made of the models themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from chalicelib.domain import (
    Finding,
    HeatmapLink,
    ImageInfo,
    LabelFacts,
    Link,
    ModelRef,
    Plan,
    Price,
    Quality,
    Quota,
    Scope,
    Study,
    StudyPage,
    StudyStatus,
    Throttle,
    UploadForm,
    Usage,
)
from chalicelib.errors import NotAChestXray
from chalicelib.inputs import UploadReference, UploadRequest
from chalicelib.services.account import Account, KeySummary
from chalicelib.services.models import Health, InstalledModel, ModelList

if TYPE_CHECKING:
    from pydantic import BaseModel

STUDY_ID = "st_01M9C7Q0ZK3V5T8W2XEXAMP1E0"
UPLOAD_ID = "up_01M9C7R4A6B8C0D2E4EXAMP1E0"
_REQUEST_ID = "0b5f6c1e-6f0c-4a41-9d0c-2f3a5f1e7c11"
_AT = datetime(2026, 11, 18, 9, 30, tzinfo=UTC)
_SHA256 = "9f2c" * 16
_LINK = "https://storage.example/report.pdf?X-Amz-Signature=…"
_ACCEPTED = 202


def _link(media_type: str, url: str = _LINK) -> dict[str, Any]:
    expires_at = _AT + timedelta(minutes=15)
    return {"url": url, "expires_at": expires_at, "media_type": media_type}


_MODEL = ModelRef(name="cardionet", version="1", sha256=_SHA256)
_STUDY = Study(
    id=STUDY_ID,
    status=StudyStatus.SUCCEEDED,
    created_at=_AT,
    completed_at=_AT + timedelta(seconds=1),
    label="Cardiomegaly",
    findings=(Finding(label="Cardiomegaly", probability=0.91, threshold=0.47, positive=True),),
    model=_MODEL,
    image=ImageInfo(
        format="DICOM", width=1841, height=1955, sha256=_SHA256, steps=("voi_lut", "invert")
    ),
    quality=Quality(accepted=True, score=0.97),
    report=Link(**_link("application/pdf")),
    heatmaps=(
        HeatmapLink(
            label="Cardiomegaly",
            **_link("image/png", "https://storage.example/heatmap.png?X-Amz-Signature=…"),
        ),
    ),
)
_QUEUED = Study(id=STUDY_ID, status=StudyStatus.QUEUED, created_at=_AT)
_ACCOUNT = Account(
    id="acme",
    name="Acme Radiology",
    status="active",
    plan=Plan(
        name="clinic",
        title="Clinic",
        studies=Quota(limit=1000, period="month"),
        requests=Quota(limit=20_000, period="month"),
        throttle=Throttle(rate_per_second=5, burst=20),
        price=Price(
            currency="EUR", monthly=Decimal("490.00"), included=1000, overage=Decimal("0.60")
        ),
    ),
    usage=Usage(
        used=212,
        limit=1000,
        period_start=datetime(2026, 11, 1, tzinfo=UTC),
        resets_at=datetime(2026, 12, 1, tzinfo=UTC),
    ),
    keys=(
        KeySummary(
            id="key_01M9C6Y2N4P6R8S0T2EXAMP1E0",
            hint="rgl…x7Qa",
            label="pacs",
            mode="live",
            scopes=tuple(Scope),
            created_at=_AT - timedelta(days=40),
            expires_at=_AT + timedelta(days=50),
            revoked_at=None,
            last_used_at=_AT,
            current=True,
        ),
    ),
)
_MODELS = ModelList(
    items=(
        InstalledModel(
            name="cardionet",
            version="1",
            sha256=_SHA256,
            scale="probability",
            active=True,
            architecture="cardionet",
            licence="MIT",
            labels=(
                LabelFacts(
                    label="Cardiomegaly",
                    threshold=0.47,
                    auroc=0.91,
                    auroc_low=0.89,
                    auroc_high=0.93,
                    dataset="the name of the data that it was tested on",
                ),
            ),
        ),
    )
)
_FORM = UploadForm(
    upload_id=UPLOAD_ID,
    url="https://storage.example/",
    fields={"key": "uploads/…", "policy": "…", "x-amz-signature": "…"},
    max_bytes=7_300_000,
    expires_at=_AT + timedelta(minutes=15),
)
_VALUES: tuple[BaseModel, ...] = (
    _STUDY,
    StudyPage(items=(_STUDY,), next_cursor=None),
    _FORM,
    Link(**_link("application/pdf")),
    _ACCOUNT,
    _MODELS,
    Health(status="ready", model=_MODEL),
    UploadReference(upload_id=UPLOAD_ID),
    UploadRequest(size=7_300_000, content_type="application/dicom"),
)


def of(model: type[BaseModel], status: int = 200) -> dict[str, Any]:
    """Return an example of a model as it looks on the wire; `status`: of the answer that has it."""
    if model is Study and status == _ACCEPTED:
        return _QUEUED.model_dump(mode="json")
    (found,) = (value for value in _VALUES if type(value) is model)
    return found.model_dump(mode="json")


def problem(code: str, status: int, title: str) -> dict[str, str | int | list[str]]:
    """Return an example of an error."""
    made: dict[str, str | int | list[str]] = {
        "type": f"urn:radgate:problem:{code}",
        "title": title,
        "status": status,
        "detail": "What was wrong in this very request.",
        "code": code,
        "request_id": _REQUEST_ID,
    }
    if code == NotAChestXray.code:
        made["reasons"] = ["not_a_chest"]
    return made
