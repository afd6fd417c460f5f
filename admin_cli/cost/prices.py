"""The price file: what AWS asks, each price with its source, exact to the last digit."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from admin_cli.console import CliError
from admin_cli.tenants.catalogue import amiss
from chalicelib.domain.clients import Amount

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

PRICES = Path(__file__).resolve().parents[2] / "prices.toml"


class _Exact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Price(_Exact):
    """`amount` for `per` units. `assumed`: nobody has confirmed it yet."""

    amount: Amount = Field(ge=0)
    per: int = Field(ge=1)
    source: str = Field(min_length=1)
    assumed: bool = False

    def of(self, units: Decimal | int) -> Decimal:
        """Return what so many units cost."""
        return self.amount * units / self.per


class _ApiGateway(_Exact):
    request: Price


class _Lambda(_Exact):
    request: Price
    gb_second: Price
    provisioned_gb_second: Price
    provisioned_duration_gb_second: Price


class _Efs(_Exact):
    gb_month: Price
    elastic_read_gb: Price


class _S3(_Exact):
    gb_month: Price
    write: Price
    read: Price


class _Transfer(_Exact):
    out_gb: Price


class _DynamoDb(_Exact):
    write_unit: Price
    read_unit: Price
    gb_month: Price
    recovery_gb_month: Price


class _Sqs(_Exact):
    request: Price


class _Ses(_Exact):
    mail: Price


class _Kms(_Exact):
    key_month: Price
    request: Price


class _CloudWatch(_Exact):
    log_gb: Price
    log_gb_month: Price
    alarm_month: Price


class _Network(_Exact):
    endpoint_hour: Price
    endpoint_gb: Price
    nat_hour: Price
    address_hour: Price
    nat_gb: Price


class _Instance(_Exact):
    hour: Price
    balancer_hour: Price
    balancer_unit_hour: Price


class _SageMaker(_Exact):
    gb_second: Price
    data_gb: Price


class Prices(_Exact):
    """All prices of one Region, as they were on `date`, in `currency` (ISO 4217)."""

    currency: str = Field(pattern=r"^[A-Z]{3}$")
    region: str
    date: date
    api_gateway: _ApiGateway
    lambda_: _Lambda = Field(alias="lambda")
    efs: _Efs
    s3: _S3
    transfer: _Transfer
    dynamodb: _DynamoDb
    sqs: _Sqs
    ses: _Ses
    kms: _Kms
    cloudwatch: _CloudWatch
    network: _Network
    instance: _Instance
    sagemaker: _SageMaker

    def each(self) -> Iterator[tuple[str, Price]]:
        """Yield every price with its name in the file, such as ``s3.write``."""
        for group, fields in self.model_dump(by_alias=True).items():
            if isinstance(fields, dict):
                holder = getattr(self, "lambda_" if group == "lambda" else group)
                for name in fields:
                    yield f"{group}.{name}", getattr(holder, name)

    def assumed(self) -> tuple[str, ...]:
        """Return the names of the prices that nobody has confirmed."""
        return tuple(name for name, price in self.each() if price.assumed)


def load_prices(path: Path | None = None) -> Prices:
    """Return the prices of a file, by default the project's. Raises CliError that says why not."""
    path = path or PRICES
    try:
        fields: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return Prices.model_validate(fields)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CliError(f"{path.name} cannot be read: {error}") from error
    except ValidationError as error:
        raise CliError(f"{path.name}: {amiss(error)}") from error
