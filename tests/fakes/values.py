"""Plausible domain values, each with the fields that a test cares about replaced."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from chalicelib.domain import (
    ApiKey,
    Caller,
    Client,
    Finding,
    ImageInfo,
    ModelRef,
    Plan,
    Quality,
    Quota,
    Study,
    StudyStatus,
    Throttle,
    new_id,
)
from chalicelib.tenants import keys

if TYPE_CHECKING:
    from chalicelib.domain import Mode

NOON = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)  # a Wednesday


def a_plan(studies: int = 100, **fields: object) -> Plan:
    defaults: dict[str, object] = {
        "name": "clinic",
        "title": "Clinic",
        "studies": Quota(limit=studies, period="month"),
        "requests": Quota(limit=studies * 10, period="month"),
        "throttle": Throttle(rate_per_second=5, burst=10),
    }
    return Plan.model_validate(defaults | fields)


def a_client(client_id: str = "acme", **fields: object) -> Client:
    defaults: dict[str, object] = {
        "id": client_id,
        "name": "Acme Radiology",
        "email": "ops@acme.example",
        "plan": a_plan(),
        "created_at": NOON,
    }
    return Client.model_validate(defaults | fields)


def a_key(client_id: str = "acme", mode: Mode = "live", **fields: object) -> ApiKey:
    secret = keys.mint(mode)
    defaults: dict[str, object] = {
        "id": new_id("key"),
        "client_id": client_id,
        "sha256": keys.sha256(secret),
        "hint": keys.hint(secret),
        "mode": mode,
        "created_at": NOON,
    }
    return ApiKey.model_validate(defaults | fields)


def a_caller(client: Client | None = None, key: ApiKey | None = None) -> Caller:
    client = client or a_client()
    return Caller(client=client, key=key or a_key(client.id))


def a_study(**fields: object) -> Study:
    defaults: dict[str, object] = {
        "id": new_id("st"),
        "status": StudyStatus.SUCCEEDED,
        "created_at": NOON,
        "completed_at": NOON,
        "label": "Cardiomegaly",
        "findings": (
            Finding(label="Cardiomegaly", probability=0.9125, threshold=0.47, positive=True),
        ),
        "model": ModelRef(name="cardionet", version="1", sha256="a" * 64),
        "image": ImageInfo(format="PNG", width=1024, height=1024, sha256="b" * 64, steps=("grey",)),
        "quality": Quality(accepted=True, score=0.97),
    }
    return Study.model_validate(defaults | fields)
