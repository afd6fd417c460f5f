"""The only reader of the environment: validated once, on first use, and frozen."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """What a function must be told about its surroundings; `chalice deploy` sets it.

    A plain model, because importing pydantic-settings costs each cold start 130 ms.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    stage: str = Field(validation_alias="RADGATE_STAGE", pattern=r"^[a-z][a-z0-9]{1,15}$")
    table: str = Field(validation_alias="RADGATE_TABLE", description="DynamoDB table.")
    bucket: str = Field(validation_alias="RADGATE_BUCKET", description="S3 bucket.")
    queue_url: str = Field(validation_alias="RADGATE_QUEUE_URL", description="Jobs.")
    bulk_queue_url: str = Field(
        validation_alias="RADGATE_BULK_QUEUE_URL", description="Jobs beyond a client's share."
    )
    delivery_queue_url: str = Field(
        validation_alias="RADGATE_DELIVERY_QUEUE_URL", description="Mails and webhooks to send."
    )
    mail_from: str = Field(
        default="",
        validation_alias="RADGATE_MAIL_FROM",
        description="Address that mail comes from, of a domain that SES has verified; empty: none.",
    )
    mail_configuration_set: str = Field(
        default="",
        validation_alias="RADGATE_MAIL_CONFIGURATION_SET",
        description="SES's configuration set, by which it counts bounces; empty: the domain's own.",
    )
    webhook_loopback: bool = Field(
        default=False,
        validation_alias="RADGATE_WEBHOOK_LOOPBACK",
        description="Whether webhooks may lead to this very machine; only on stage local.",
    )
    data_role: str = Field(
        validation_alias="RADGATE_DATA_ROLE",
        pattern=r"^arn:[a-z-]+:iam::[0-9]{12}:role/",
        description="Role under which one client's objects are reached.",
    )
    model_dir: Path = Field(
        validation_alias="MODEL_DIR",
        description="Folder of the packs: an EFS mount on AWS, a plain folder elsewhere.",
    )
    runtime_folder: Path | None = Field(
        default=None,
        validation_alias="RADGATE_RUNTIME_DIR",
        description="Folder of the package trees; without it a hidden one beside the packs.",
    )
    threads: int = Field(
        default=2,
        ge=1,
        validation_alias="RADGATE_THREADS",
        description="CPU threads of a forward pass; more than the function's vCPUs is slower.",
    )

    retry_seconds: int = Field(
        default=15,
        ge=1,
        le=900,
        validation_alias="RADGATE_RETRY_SECONDS",
        description="From a study's first failed attempt to the next; later four times that.",
    )

    @model_validator(mode="after")
    def _loopback_is_local(self) -> Self:
        if self.webhook_loopback and self.stage != "local":
            raise ValueError("RADGATE_WEBHOOK_LOOPBACK is for stage local alone")
        return self

    tracing: bool = Field(
        default=False,
        validation_alias="RADGATE_TRACING",
        description="Whether X-Ray gets the parts of each request and each batch.",
    )

    @property
    def runtime_dir(self) -> Path:
        """Where the package trees lie: on the same mount as the packs, which has just one root."""
        return self.runtime_folder or self.model_dir / ".runtime"


def is_provisioned() -> bool:
    """Tell whether Lambda started this process ahead of requests, as provisioned concurrency.

    Asked while `app` is imported, when there may be no other settings.
    """
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "provisioned-concurrency"


@cache
def settings() -> Settings:
    """Return the settings of this process. Raises pydantic.ValidationError when one is amiss."""
    return Settings.model_validate(dict(os.environ))
