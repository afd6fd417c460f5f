"""Who pays and on what terms: clients, keys, plans, quotas, prices."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads the annotation at run time
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BeforeValidator, Field

from chalicelib.domain.base import ClientId, Mode, Value

GatePolicy = Literal["block", "warn"]


class Scope(StrEnum):
    """What a key may be used for."""

    STUDIES_WRITE = "studies:write"
    STUDIES_READ = "studies:read"
    ACCOUNT_READ = "account:read"


class Quota(Value):
    """At most `limit` units in each calendar period, which begins at 00:00 UTC."""

    limit: int = Field(ge=1)
    period: Literal["day", "week", "month"]


class Throttle(Value):
    """A token bucket: `rate_per_second` tokens flow in, at most `burst` wait."""

    rate_per_second: float = Field(gt=0)
    burst: int = Field(ge=1)


def _exact(amount: object) -> object:
    """Refuse a float: 0.1 is not a tenth, and money must add up."""
    if isinstance(amount, float):
        raise ValueError('write the amount as text, such as "0.10"')  # noqa: TRY004 - for pydantic
    return amount


Amount = Annotated[Decimal, BeforeValidator(_exact)]


class Price(Value):
    """What a plan costs. `monthly` covers `included` studies of each calendar month, in UTC.

    Every further study of that month costs `overage`. Amounts are exact decimals in `currency`
    (ISO 4217), written as text.
    """

    currency: str = Field(pattern=r"^[A-Z]{3}$")
    monthly: Amount = Field(ge=0, max_digits=12, decimal_places=2)
    included: int = Field(ge=0)
    overage: Amount = Field(ge=0, max_digits=12, decimal_places=4)


class Plan(Value):
    """One entry of the catalogue in `plans.toml`.

    `studies` is what the client pays for: live studies, counted exactly. `requests` and
    `throttle` are the coarse first gate in API Gateway, which counts every call per key.
    """

    name: str
    title: str
    studies: Quota
    requests: Quota
    throttle: Throttle
    price: Price | None = Field(default=None, description="None: it is not invoiced.")


class Client(Value):
    """A paying organisation. `plan` is a copy of the catalogue's terms at the time of sale.

    `gate_policy`: what becomes of an image that the gate does not accept: it is refused
    (`block`), or analysed with the doubt written into study and report (`warn`).
    `retention_days`: after so many days a study's image, report and findings are erased.
    """

    id: ClientId
    name: str = Field(min_length=1, max_length=200)
    email: str = Field(min_length=3, max_length=254)
    plan: Plan
    status: Literal["active", "suspended"] = "active"
    gate_policy: GatePolicy = "block"
    retention_days: int = Field(default=30, ge=1, le=365)
    mail: bool = Field(default=False, description="Whether to mail when a queued study ends.")
    webhook: str | None = Field(
        default=None, max_length=2000, description="Where events are posted; None: nowhere."
    )
    created_at: AwareDatetime
    usage_plan_id: str | None = Field(
        default=None, description="API Gateway's usage plan; None until it was made."
    )
    deleting_at: AwareDatetime | None = Field(
        default=None, description="When its deletion began; it is suspended and stays so."
    )


class ApiKey(Value):
    """All that we keep of a key: never the secret, only its SHA-256."""

    id: str
    client_id: ClientId
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    hint: str = Field(description="Prefix and last four characters, to tell keys apart.")
    label: str = Field(default="", max_length=100)
    mode: Mode = "live"
    scopes: frozenset[Scope] = frozenset(Scope)
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None
    gateway_key_id: str | None = Field(
        default=None, description="API Gateway's key; None until it was made."
    )
    replaces: str | None = Field(default=None, description="The key whose rotation made this one.")
    replaced_by: str | None = Field(
        default=None, description="The key that took over; this one works until it expires."
    )
    last_used_at: AwareDatetime | None = Field(
        default=None, description="Of a minute's uses, one is noted."
    )


class Caller(Value):
    """Who makes a request: a verified key and its client."""

    client: Client
    key: ApiKey


class Usage(Value):
    """Units of one quota in the current period."""

    used: int
    limit: int
    period_start: AwareDatetime
    resets_at: AwareDatetime

    @property
    def remaining(self) -> int:
        """Units left, never below zero."""
        return max(0, self.limit - self.used)


def is_expired(key: ApiKey, now: datetime) -> bool:
    """Tell whether the key's life is over at `now` (an aware time)."""
    return key.expires_at is not None and key.expires_at <= now
