"""What a deploy is made to: a stage, its settings and foundation, and where its copy lies."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3

from admin_cli.deploying.keeping_warm import Schedule
from admin_cli.deploying.provisioning import Entrance
from admin_cli.deploying.stage_config import function_name
from admin_cli.deploying.staging import MOUNT, stage_project
from admin_cli.gateway import gateway_client

if TYPE_CHECKING:
    from pathlib import Path

    from admin_cli.deploying.deployment_record import Deployment
    from admin_cli.deploying.stage_settings import StageSettings
    from admin_cli.foundation import Foundation


@dataclass(frozen=True, slots=True)
class Target:
    """What is deployed to: a stage, and the folder of the copy that is deployed."""

    stage: str
    settings: StageSettings
    foundation: Foundation
    home: Path

    @property
    def build(self) -> Path:
        """Where the deployable copy lies."""
        return self.home / "build" / self.stage

    @property
    def memory(self) -> Path:
        """Chalice's memory of what it made."""
        return self.build / ".chalice" / "deployed" / f"{self.stage}.json"

    @property
    def log(self) -> Path:
        """All that Chalice said last."""
        return self.home / "logs" / f"chalice-{self.stage}.log"

    def stage_project(self) -> str:
        """Make the deployable copy; return the SHA-256 of what is in it."""
        # Locally a plain folder stands for EFS.
        model_dir = str(self.home / "models") if self.stage == "local" else MOUNT
        return stage_project(self.stage, self.foundation, self.build, model_dir)

    def entrance(self, made: Deployment) -> Entrance:
        """The API's function and the way to it."""
        return Entrance(
            boto3.client("lambda"),
            gateway_client(),
            function_name(self.stage, "api_handler"),
            made.rest_api_id,
            made.api_stage,
            self.settings.provisioned_concurrency,
        )

    def schedule(self) -> Schedule:
        """The warm-up of the API's function."""
        return Schedule(
            boto3.client("events"),
            boto3.client("lambda"),
            self.stage,
            function_name(self.stage, "api_handler"),
            self.settings.warm_every_minutes,
            alias=self.settings.provisioned_concurrency > 0,
        )

    def api_url(self, rest_api_id: str) -> str:
        """Where clients find the API, without a slash at the end."""
        domain = self.settings.domain
        return domain.url if domain else self.direct_url(rest_api_id)

    def direct_url(self, rest_api_id: str) -> str:
        """Where the API answers even while its domain does not lead to it yet."""
        api_stage, region = self.settings.api_stage, self.foundation.region
        endpoint = os.environ.get("AWS_ENDPOINT_URL")
        if endpoint:
            return f"{endpoint}/restapis/{rest_api_id}/{api_stage}/_user_request_"
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        return f"https://{rest_api_id}.execute-api.{region}.{suffix}/{api_stage}"
