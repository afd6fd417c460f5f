"""A month's work, and what each part of it takes: units, bytes, seconds."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

HOURS = 730  # of an average month
SECONDS = HOURS * 3600
ZONES = 2  # that the foundation's network has
ENDPOINTS = 2  # of interface type: SQS and STS
ALARMS = 8  # of the foundation; a test counts them

# Table units of one live study by POST /xray and one later look at it, as the adapters ask for
# them; a test counts these calls by DynamoDB's rules. Caches of callers are left out.
STUDY_WRITE_UNITS = 7
STUDY_READ_UNITS = 4
LOOK_READ_UNITS = 4
# What the queue adds: its job, two leases, the end, a delivery and its outcome.
QUEUE_WRITE_UNITS = 22
QUEUE_READ_UNITS = 4
STUDY_ITEM_BYTES = 3_072  # of a pack with 18 labels, with its place in the index
# A report and one heatmap.
REPORT_BYTES = 90_000
ANSWER_BYTES = 2_000
LOG_BYTES = 1_500  # of a request: our line, Lambda's three and the access log's
LOG_DAYS = 90
SESSION_SECONDS = 2_400  # that a session with one client's objects is used
KEY_CACHE_SECONDS = 300  # for which DynamoDB keeps a table's key, for each caller
# AWS names neither: how long a function is kept without work, and how long at all.
IDLE_SECONDS = 600
REPLACED_SECONDS = 7_200
GB = Decimal(10) ** 9
MB = Decimal(10) ** 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A month's work.

    `latency_ms`: billed time of a study on a warm function; `look_ms` of any other request. The
    busiest hour has `peak` times the average. `cold_percent` of all studies meet a cold function,
    which reads `cold_read_mb` from EFS in `cold_ms`; None: as many as `cold` says.
    `queued_percent` of all studies go through the queue and are told by mail.
    """

    studies: int = 10_000
    looks: int = 1
    memory_mb: int = 3008
    latency_ms: int = 312
    look_ms: int = 40
    image_mb: Decimal = Decimal("0.7")
    retention_days: int = 30
    queued_percent: Decimal = Decimal(20)
    cold_percent: Decimal | None = None
    cold_ms: int = 4000
    cold_read_mb: int = 173
    runtime_mb: int = 800
    clients: int = 50
    peak: Decimal = Decimal(4)
    provisioned: int = 0

    @property
    def requests(self) -> int:
        """Every call of the API."""
        return self.studies * (1 + self.looks)

    @property
    def queued(self) -> Decimal:
        """Studies that go through the queue."""
        return self.studies * self.queued_percent / 100

    @property
    def warm_seconds(self) -> Decimal:
        """Seconds that functions work when none of them has just been started."""
        return Decimal(self.studies * (self.latency_ms + self.looks * self.look_ms)) / 1000

    @property
    def processes(self) -> int:
        """How many work at the same time in the busiest hour, one study each; one at least."""
        return max(1, ceiling(self.warm_seconds * self.peak / SECONDS))

    @property
    def cold(self) -> Decimal:
        """Studies that meet a function which has just been started.

        Unless given: those that come, by chance, after none for `IDLE_SECONDS`, and those that
        come after a function was replaced. Of the former there are fewer again in a busy month;
        the most that there can be is kept, so that the estimate is not too low.
        """
        if self.cold_percent is not None:
            return self.studies * self.cold_percent / 100
        spread = Decimal(min(self.studies, SECONDS // IDLE_SECONDS))
        idle = spread * (-spread * IDLE_SECONDS / SECONDS).exp()
        replaced = Decimal(self.processes * SECONDS) / REPLACED_SECONDS
        return min(Decimal(self.studies), idle + replaced)

    @property
    def busy_seconds(self) -> Decimal:
        """Seconds that functions work."""
        return self.warm_seconds + self.cold * self.cold_ms / 1000

    @property
    def key_requests(self) -> int:
        """How often KMS is asked: for each session's first object, and by DynamoDB's cache.

        S3's bucket key saves the rest. There cannot be more sessions than studies.
        """
        most = self.clients * self.processes * SECONDS // SESSION_SECONDS
        sessions = min(self.studies, most)
        return 2 * sessions + self.processes * SECONDS // KEY_CACHE_SECONDS


def ceiling(value: Decimal) -> int:
    """Return the least whole number that is not below `value`."""
    return int(value.to_integral_value(ROUND_CEILING))
