"""What a month of Radgate costs, item by item, from the work it does."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from admin_cli.cost.work import (
    ALARMS,
    ANSWER_BYTES,
    ENDPOINTS,
    GB,
    HOURS,
    LOG_BYTES,
    LOG_DAYS,
    LOOK_READ_UNITS,
    MB,
    QUEUE_READ_UNITS,
    QUEUE_WRITE_UNITS,
    REPORT_BYTES,
    SECONDS,
    STUDY_ITEM_BYTES,
    STUDY_READ_UNITS,
    STUDY_WRITE_UNITS,
    ZONES,
    Workload,
)

if TYPE_CHECKING:
    from admin_cli.cost.prices import Prices

SAGEMAKER_MB = (1024, 2048, 3072, 4096, 5120, 6144)
WAITING_MB = 1024  # of a function that only waits for SageMaker's answer


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a bill: so much for this. `basis` says in words of what."""

    name: str
    basis: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Bill:
    """Lines and their sum, in the currency of the prices."""

    items: tuple[Item, ...]

    @property
    def total(self) -> Decimal:
        """The sum of the lines, exact."""
        return sum((item.amount for item in self.items), Decimal(0))


def serverless(work: Workload, prices: Prices) -> Bill:
    """Return the bill of Radgate as it is deployed."""
    gb = Decimal(work.memory_mb) / 1024
    covered = min(Decimal(1), Decimal(work.provisioned) / work.processes)
    seconds = work.busy_seconds * gb
    duration = prices.lambda_.provisioned_duration_gb_second.of(
        seconds * covered
    ) + prices.lambda_.gb_second.of(seconds * (1 - covered))
    invocations = work.requests + work.queued * 2  # worker and delivery
    read_gb = work.cold * work.cold_read_mb * MB / GB
    items = (
        Item("Lambda duration", f"{seconds:,.0f} GB-seconds", duration),
        Item(
            "Lambda requests", f"{invocations:,.0f} calls", prices.lambda_.request.of(invocations)
        ),
        Item(
            "Lambda kept warm",
            f"{work.provisioned} functions",
            prices.lambda_.provisioned_gb_second.of(gb * work.provisioned * SECONDS),
        ),
        Item(
            "EFS",
            f"{work.runtime_mb} MB kept, {read_gb:,.1f} GB read",
            prices.efs.gb_month.of(work.runtime_mb * MB / GB)
            + prices.efs.elastic_read_gb.of(read_gb),
        ),
        Item(
            "Interface endpoints",
            f"{ENDPOINTS} in {ZONES} zones",
            prices.network.endpoint_hour.of(ENDPOINTS * ZONES * HOURS),
        ),
    )
    return Bill(_gateway(work, prices) + items + _common(work, prices))


def always_on(work: Workload, prices: Prices) -> Bill:
    """Return the bill of the same work on instances behind a load balancer, day and night.

    Each has two vCPUs and does one study at a time; there are enough for the busiest hour. What
    API Gateway does for keys and plans would have to be built.
    """
    instances = work.processes
    balanced_gb = work.studies * (work.image_mb * MB + ANSWER_BYTES * (1 + work.looks)) / GB
    units = max(Decimal(HOURS), balanced_gb)  # one unit carries a gigabyte an hour
    items = (
        Item(
            "Instances",
            f"{instances} day and night",
            prices.instance.hour.of(instances * HOURS),
        ),
        Item(
            "Load balancer",
            f"{units:,.0f} unit-hours",
            prices.instance.balancer_hour.of(HOURS) + prices.instance.balancer_unit_hour.of(units),
        ),
    )
    return Bill(items + _common(work, prices))


def sagemaker(work: Workload, prices: Prices) -> Bill:
    """Return the bill with the model on a serverless endpoint of SageMaker.

    A small function in front of it still does everything else and waits for the answer.
    """
    memory = next((mb for mb in SAGEMAKER_MB if mb >= work.memory_mb), SAGEMAKER_MB[-1])
    there = (work.studies * Decimal(work.latency_ms) + work.cold * work.cold_ms) / 1000
    waited = work.busy_seconds * WAITING_MB / 1024
    data_gb = work.studies * work.image_mb * MB / GB
    invocations = work.requests + work.queued * 2
    items = (
        Item(
            "SageMaker",
            f"{there * memory / 1024:,.0f} GB-seconds",
            prices.sagemaker.gb_second.of(there * memory / 1024)
            + prices.sagemaker.data_gb.of(data_gb),
        ),
        Item(
            "Lambda in front",
            f"{waited:,.0f} GB-seconds",
            prices.lambda_.gb_second.of(waited) + prices.lambda_.request.of(invocations),
        ),
    )
    return Bill(_gateway(work, prices) + items + _common(work, prices))


def nat_instead(prices: Prices) -> Decimal:
    """Return what NAT gateways, each with its address, would cost without any traffic."""
    hours = ZONES * HOURS
    return prices.network.nat_hour.of(hours) + prices.network.address_hour.of(hours)


def _gateway(work: Workload, prices: Prices) -> tuple[Item, ...]:
    return (
        Item(
            "API Gateway",
            f"{work.requests:,} requests",
            prices.api_gateway.request.of(work.requests),
        ),
    )


def _common(work: Workload, prices: Prices) -> tuple[Item, ...]:
    """What every way of running the model needs: data, queue, mail, logs."""
    writes = work.studies * STUDY_WRITE_UNITS + work.queued * QUEUE_WRITE_UNITS
    reads = (
        work.studies * (STUDY_READ_UNITS + work.looks * LOOK_READ_UNITS)
        + work.queued * QUEUE_READ_UNITS
    )
    months = Decimal(work.retention_days) / 30
    table_gb = work.studies * STUDY_ITEM_BYTES * months / GB
    kept_gb = (work.studies * REPORT_BYTES * months + work.queued * work.image_mb * MB / 30) / GB
    puts = work.studies * 2 + work.queued
    gets = work.studies + work.queued
    out_gb = (work.studies * REPORT_BYTES + work.requests * ANSWER_BYTES) / GB
    messages = work.queued * 6  # sent, received and deleted, for the job and for its delivery
    log_gb = work.requests * LOG_BYTES / GB
    keys = work.key_requests
    return (
        Item(
            "DynamoDB",
            f"{writes:,.0f} write, {reads:,.0f} read units, {table_gb:,.2f} GB",
            prices.dynamodb.write_unit.of(writes)
            + prices.dynamodb.read_unit.of(reads)
            + (prices.dynamodb.gb_month.of(table_gb))
            + prices.dynamodb.recovery_gb_month.of(table_gb),
        ),
        Item(
            "S3",
            f"{kept_gb:,.2f} GB kept, {puts:,.0f} writes, {gets:,.0f} reads",
            prices.s3.gb_month.of(kept_gb) + prices.s3.write.of(puts) + prices.s3.read.of(gets),
        ),
        Item("Transfer out", f"{out_gb:,.2f} GB", prices.transfer.out_gb.of(out_gb)),
        Item("SQS", f"{messages:,.0f} requests", prices.sqs.request.of(messages)),
        Item("SES", f"{work.queued:,.0f} mails", prices.ses.mail.of(work.queued)),
        Item(
            "KMS",
            f"1 key, {keys:,.0f} requests",
            prices.kms.key_month.of(1) + prices.kms.request.of(keys),
        ),
        Item(
            "Logs",
            f"{log_gb:,.2f} GB, kept for {LOG_DAYS} days",
            prices.cloudwatch.log_gb.of(log_gb)
            + prices.cloudwatch.log_gb_month.of(log_gb * LOG_DAYS / 30),
        ),
        Item("Alarms", f"{ALARMS}", prices.cloudwatch.alarm_month.of(ALARMS)),
    )
