"""A deployed stage as the commands use it: its table, its API Gateway and its audit trail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from admin_cli.actor import actor
from admin_cli.console import CliError
from admin_cli.deploying.deployment_record import read_deployment
from admin_cli.emulator import use_local_endpoint
from admin_cli.foundation import read_foundation
from admin_cli.gateway import Gateway, gateway_client
from admin_cli.tenants.accounts import Accounts
from admin_cli.tenants.gateway_survey import Survey
from admin_cli.tenants.keyring import Keyring
from chalicelib import aws
from chalicelib.tenants.audit import Trail

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

    from admin_cli.deploying.deployment_record import Deployment
    from admin_cli.foundation import Foundation


@dataclass(frozen=True, slots=True)
class Stage:
    """What a command may need of one stage."""

    name: str
    foundation: Foundation
    deployment: Deployment
    table: Table
    trail: Trail
    gateway: Gateway
    survey: Survey

    @property
    def accounts(self) -> Accounts:
        """Its clients."""
        return Accounts(self.table, self.trail)

    @property
    def keyring(self) -> Keyring:
        """Its keys."""
        return Keyring(self.table, self.trail)

    @staticmethod
    def clock() -> datetime:
        """Return now as an aware time in UTC."""
        return datetime.now(UTC)


def open_stage(name: str) -> Stage:
    """Return a deployed stage.

    Raises CliError when it is not deployed or, for `local`, does not run.
    """
    if name == "local":
        use_local_endpoint()
    foundation = read_foundation(name)
    table = aws.table(foundation.TableName)
    deployment = read_deployment(table.name)
    if deployment is None:
        raise CliError(f"stage {name} has no API yet: deploy it first")
    client = gateway_client(paced=name != "local")
    gateway = Gateway(client, name, deployment.rest_api_id, deployment.api_stage)
    trail = Trail(table, lambda: actor(name), Stage.clock)
    return Stage(name, foundation, deployment, table, trail, gateway, Survey(client, name))
