"""The words of the product as frozen values: clients, keys, plans, studies, findings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - pydantic reads the annotation at run time
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from ulid import ULID

NO_FINDING = "No finding"
REPORT_NAME = "report.pdf"

ClientId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{1,62}$")]
Mode = Literal["live", "test"]
GatePolicy = Literal["block", "warn"]


def new_id(prefix: Literal["st", "key", "up", "evt"]) -> str:
    """Return a fresh ULID with its prefix, e.g. ``st_01JD…``; ids of one prefix sort by time."""
    return f"{prefix}_{ULID()}"


class Value(BaseModel):
    """A frozen record that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# --- clients, keys, plans ---------------------------------------------------------------


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
    """

    id: ClientId
    name: str = Field(min_length=1, max_length=200)
    email: str = Field(min_length=3, max_length=254)
    plan: Plan
    status: Literal["active", "suspended"] = "active"
    gate_policy: GatePolicy = "block"
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


# --- images and findings ----------------------------------------------------------------


class ImageInfo(Value):
    """What the client may know of the image it sent.

    `width` and `height` in pixels after orientation was applied; `sha256` of the bytes as
    they were sent; `steps` in the order in which decoding took them.
    """

    format: Literal["PNG", "JPEG", "DICOM"]
    width: int
    height: int
    sha256: str
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Radiograph:
    """A decoded greyscale image, free of headers and of patient data.

    `pixels`: row-major, 0 is black and `maxval` is white; one byte a pixel (uint8) when
    `maxval` <= 255, else two (uint16, little-endian). Kept as bytes so that only the
    inference package needs numpy.
    """

    info: ImageInfo
    pixels: bytes
    maxval: int


class Quality(Value):
    """The gate's judgement: is this a frontal chest X-ray? `score` in [0, 1]."""

    accepted: bool
    score: float = Field(ge=0, le=1)
    reasons: tuple[str, ...] = ()


class Finding(Value):
    """One label: a calibrated probability against the pack's operating point, both in [0, 1]."""

    label: str
    probability: float = Field(ge=0, le=1)
    threshold: float = Field(ge=0, le=1)
    positive: bool


@dataclass(frozen=True, slots=True)
class Heatmap:
    """Where the network saw a label.

    `values`: uint8, row-major, `height` x `width` cells, 0 (nothing) to 255 (most).
    `box`: left, top, right, bottom in pixels of the radiograph that the grid covers; it may
    reach beyond the image where the network's input was padded.
    """

    label: str
    width: int
    height: int
    values: bytes
    box: tuple[float, float, float, float]


class ModelRef(Value):
    """Which pack answered; `sha256` of its manifest, which holds the hash of every file.

    `scale`: whether the numbers of its findings are calibrated probabilities, or a decision scale
    that orders images, is cut at the operating point and is the chance of nothing.
    """

    name: str
    version: str
    sha256: str
    scale: Literal["probability", "decision"] = "probability"


class LabelFacts(Value):
    """What is known of one label of a pack: AUROC with its 95 % interval on a named data set.

    None where a figure is unknown; `dataset` then says why.
    """

    label: str
    threshold: float
    auroc: float | None = None
    auroc_low: float | None = None
    auroc_high: float | None = None
    dataset: str


class ModelFacts(Value):
    """An installed pack as `GET /models` tells it."""

    ref: ModelRef
    architecture: str
    licence: str
    labels: tuple[LabelFacts, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """A pack's answer: all findings in the pack's order, a heatmap for every positive one.

    It brings the facts of the pack that gave it, since another may be active a moment later.
    """

    facts: ModelFacts
    findings: tuple[Finding, ...]
    heatmaps: tuple[Heatmap, ...]

    @property
    def model(self) -> ModelRef:
        """Which pack answered."""
        return self.facts.ref


# --- studies ----------------------------------------------------------------------------


class StudyStatus(StrEnum):
    """A study's life; it never goes backwards."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DELETED = "deleted"


class Link(Value):
    """A signed link to a document. Whoever holds it can read the document until `expires_at`."""

    url: str
    expires_at: AwareDatetime
    media_type: str


class HeatmapLink(Link):
    """A signed link to the heatmap of one positive finding: a PNG to lay over the radiograph."""

    label: str


def heatmap_name(label: str) -> str:
    """Return the name of a label's heatmap among a study's documents."""
    return f"heatmap-{re.sub('[^a-z0-9]+', '-', label.lower()).strip('-')}.png"


class Study(Value):
    """One analysed radiograph, in the shape in which clients see it."""

    id: str
    status: StudyStatus
    created_at: AwareDatetime
    completed_at: AwareDatetime | None = None
    label: str | None = None
    findings: tuple[Finding, ...] = ()
    model: ModelRef | None = None
    image: ImageInfo | None = None
    quality: Quality | None = None
    report: Link | None = None
    heatmaps: tuple[HeatmapLink, ...] = ()
    mode: Mode = "live"
    error: dict[str, str | int] | None = None


class StudyPage(Value):
    """A slice of a client's studies, newest first; `next_cursor` is None on the last page."""

    items: tuple[Study, ...]
    next_cursor: str | None


def leading_label(findings: tuple[Finding, ...]) -> str:
    """Return the positive finding furthest above its threshold, else ``"No finding"``."""
    positive = [finding for finding in findings if finding.positive]
    if not positive:
        return NO_FINDING
    return max(positive, key=lambda finding: finding.probability - finding.threshold).label


def is_expired(key: ApiKey, now: datetime) -> bool:
    """Tell whether the key's life is over at `now` (an aware time)."""
    return key.expires_at is not None and key.expires_at <= now
