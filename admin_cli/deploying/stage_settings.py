"""What `stages.toml` says of a stage: network, endpoint, domain, mail, alarms, limits."""

from __future__ import annotations

import os
import tomllib
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from admin_cli.console import CliError
from admin_cli.tenants.catalogue import amiss

STAGES = Path(__file__).resolve().parents[2] / "stages.toml"
LogDays = Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827]
_LARGEST, _SMALLEST = 16, 26  # what a VPC may have, less a bit for the two subnets
_HOST = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$"
Zone = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9][a-z]$")]
Host = Annotated[str, Field(pattern=_HOST, max_length=253)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limit(_Table):
    """A token bucket over all clients of a stage."""

    rate_per_second: float = Field(default=200.0, gt=0, le=10_000)
    burst: int = Field(default=400, ge=1, le=5_000)


class Workers(_Table):
    """How many workers run at the same time: for the queue of what somebody waits for, for bulk."""

    first: int = Field(default=100, ge=2, le=1000)
    bulk: int = Field(default=20, ge=2, le=1000)


class Domain(_Table):
    """A host name of the operator's own; `path`: what stands between host and route."""

    name: Host
    certificate_arn: str = Field(pattern=r"^arn:[a-z-]+:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$")
    path: str = Field(default="(none)", pattern=r"^(\(none\)|[A-Za-z0-9._-]{1,300})$")

    @property
    def url(self) -> str:
        """Where the API answers, without a slash at the end."""
        return f"https://{self.name}" + ("" if self.path == "(none)" else f"/{self.path}")


class StageSettings(_Table):
    """One table of `stages.toml`; its head says what each field means."""

    api_stage: str = Field(default="v1", pattern=r"^[A-Za-z0-9_]{1,128}$")
    endpoint: Literal["regional", "edge", "private"] = "regional"
    vpc_endpoints: tuple[Annotated[str, Field(pattern=r"^vpce-[0-9a-f]{8,17}$")], ...] = ()
    domain: Domain | None = None
    network: Literal["none", "new", "existing"] = "new"
    vpc_cidr: IPv4Network = IPv4Network("10.71.0.0/24")
    zones: tuple[Zone, Zone] | None = None
    vpc_id: str | None = Field(default=None, pattern=r"^vpc-[0-9a-f]{8,17}$")
    subnet_ids: tuple[Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")], ...] = ()
    mail_domain: Host | None = None
    mail_identity: Literal["new", "existing"] = "new"
    alarm_email: str | None = Field(default=None, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
    budget_dollars: int = Field(default=0, ge=0)
    log_days: LogDays = 90
    throttle: Limit = Limit()
    compress_from: int = Field(default=1024, ge=0, le=10_485_760)
    xray: bool = False
    workers: Workers = Workers()
    provisioned_concurrency: int = Field(default=0, ge=0, le=1000)
    warm_every_minutes: int = Field(default=0, ge=0, le=60)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.endpoint == "private" and not self.vpc_endpoints:
            raise ValueError("a private endpoint needs vpc_endpoints")
        if self.endpoint != "private" and self.vpc_endpoints:
            raise ValueError("vpc_endpoints are for a private endpoint only")
        if self.endpoint == "private" and self.domain is not None:
            raise ValueError("Chalice gives no domain to a private endpoint")
        if self.workers.bulk >= self.workers.first:
            raise ValueError("workers: bulk must be fewer than first, or a flood starves the rest")
        if self.network == "existing" and (self.vpc_id is None or len(set(self.subnet_ids)) != 2):  # noqa: PLR2004
            raise ValueError("an existing network needs vpc_id and two subnet_ids")
        if self.network != "existing" and (self.vpc_id or self.subnet_ids):
            raise ValueError("vpc_id and subnet_ids are for an existing network only")
        if self.zones and (self.network != "new" or self.zones[0] == self.zones[1]):
            raise ValueError("zones are for a new network, and they are two")
        if not _SMALLEST >= self.vpc_cidr.prefixlen >= _LARGEST or not self.vpc_cidr.is_private:
            raise ValueError("vpc_cidr must be a private network between /16 and /26")
        zone = self.domain and self.domain.certificate_arn.split(":")[3]
        if self.endpoint == "edge" and zone not in {None, "us-east-1"}:
            raise ValueError("the certificate of an edge endpoint must lie in us-east-1")
        return self

    @model_validator(mode="after")
    def _agree_on_mail(self) -> Self:
        if self.mail_identity == "existing" and self.mail_domain is None:
            raise ValueError("an existing mail_identity needs its mail_domain")
        if self.budget_dollars and self.alarm_email is None:
            raise ValueError("a budget needs alarm_email, for somebody has to be told")
        return self

    def parameters(self, stage: str) -> dict[str, str]:
        """What the foundation's template is told."""
        first, second = self.subnet_ids or ("", "")
        zone, other_zone = self.zones or ("", "")
        half, other_half = self.vpc_cidr.subnets()
        return {
            "Stage": stage,
            "ApiStage": self.api_stage,
            "Network": self.network,
            "VpcCidr": str(self.vpc_cidr),
            "SubnetCidrA": str(half),
            "SubnetCidrB": str(other_half),
            "ZoneA": zone,
            "ZoneB": other_zone,
            "VpcId": self.vpc_id or "",
            "SubnetA": first,
            "SubnetB": second,
            "Mounted": "true",
            "Protected": str(stage != "local").lower(),
            "MailDomain": self.mail_domain or "",
            "MailIdentityMade": str(self.mail_identity == "new").lower(),
            "AlarmEmail": self.alarm_email or "",
            "BudgetDollars": str(self.budget_dollars),
            "LogDays": str(self.log_days),
        }


def stage_settings(stage: str, path: Path | None = None) -> StageSettings:
    """Return the settings of a stage; `RADGATE_STAGES` names another file.

    Raises CliError that names what is amiss.
    """
    path = path or Path(os.environ.get("RADGATE_STAGES", STAGES))
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise CliError(f"{path.name} cannot be read: {error}") from error
    if stage not in tables:
        raise CliError(f"{path.name} has no stage {stage}, only {', '.join(sorted(tables))}")
    try:
        settings = StageSettings.model_validate(tables[stage])
    except ValidationError as error:
        raise CliError(f"{path.name}: stage {stage}: {amiss(error)}") from error
    if settings.network == "none" and stage != "local":
        raise CliError(
            f"{path.name}: stage {stage}: network none is for stage local only: on AWS the models"
            " lie on EFS, which is reached through a network"
        )
    return settings
