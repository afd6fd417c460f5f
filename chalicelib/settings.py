"""The only reader of the environment: validated once, on first use, and frozen."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


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

    @property
    def runtime_dir(self) -> Path:
        """Where the package trees lie: on the same mount as the packs, which has just one root."""
        return self.runtime_folder or self.model_dir / ".runtime"


@cache
def settings() -> Settings:
    """Return the settings of this process. Raises pydantic.ValidationError when one is amiss."""
    return Settings.model_validate(dict(os.environ))
