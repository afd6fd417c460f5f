"""A stage on moto whose processes die after so many writes.

Every write to AWS burns a fuse, and the last one ends in an exception that no code of ours may
catch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from chalicelib.delivery.outbox import SqsOutbox
from chalicelib.delivery.queue import SqsJobQueue
from chalicelib.delivery.sources import S3SourceStore
from chalicelib.domain import MAX_ATTEMPTS, Message, Notice
from chalicelib.problems import defect_problem, problem_of
from chalicelib.reports.folders import S3StudyFolders
from chalicelib.reports.store import S3DocumentStore
from chalicelib.services.ending import Endings
from chalicelib.services.erasure import ErasureService
from chalicelib.services.expiring import RetentionService
from chalicelib.services.intake import IntakeService
from chalicelib.services.reading import Reader
from chalicelib.services.sweeper import PATIENCE, SweeperService
from chalicelib.services.timing import Deadline
from chalicelib.services.worker import WorkerService
from chalicelib.tenants import records
from chalicelib.tenants.deliveries import DynamoDeliveryStore
from chalicelib.tenants.directory import DynamoDirectory
from chalicelib.tenants.erasure import DynamoErasure
from chalicelib.tenants.intake import DynamoIntake
from chalicelib.tenants.jobs import DynamoJobStore
from chalicelib.tenants.ledger import DynamoLedger
from chalicelib.tenants.retention import DynamoRetentionStore
from chalicelib.tenants.studies import DynamoStudyStore
from chalicelib.tenants.uploads import DynamoSpentUploads
from tests.fakes.clock import FixedClock
from tests.fakes.inference import FakeClassifier, FakeDecoder, FakeGate
from tests.fakes.operations import FakeMonitor
from tests.fakes.reports import PlainReportWriter
from tests.fakes.values import a_caller, a_client
from tests.integration.tenants.conftest import make_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

    from chalicelib.errors import RadgateError

REGION = "eu-central-1"
BUCKET = "radgate-test"
FAR = 10**6


class Killed(BaseException):
    """Stands for a process that ends here."""


# To die between two reads, or between a write and the next read, is to die before the next write.
WRITES = {
    "CopyObject",
    "DeleteItem",
    "DeleteObject",
    "PutItem",
    "PutObject",
    "SendMessage",
    "TransactWriteItems",
    "UpdateItem",
}

READS = {"BatchGetItem", "GetItem", "GetObject", "ListObjectsV2", "Query"}
# What the tests themselves do.
READS |= {"CreateBucket", "CreateQueue", "ReceiveMessage", "Scan"}


@dataclass
class Fuse:
    """Lets `calls` writes through, then ends the process before the next one."""

    calls: int = FAR
    made: list[str] = field(default_factory=list)

    def burn(self, call: str) -> None:
        if call not in WRITES:
            assert call in READS, call
            return
        if len(self.made) == self.calls:
            raise Killed(call)
        self.made.append(call)


def explain(error: RadgateError | None, request_id: str) -> dict[str, str | int | list[str]]:
    return (defect_problem() if error is None else problem_of(error)).document(request_id)


@cache
def clients() -> tuple[S3Client, SQSClient]:
    """Return clients for all worlds: making one takes longer than a world does."""
    s3: S3Client = boto3.client("s3", region_name=REGION)
    return s3, boto3.client("sqs", region_name=REGION)


class World:
    """All adapters on one simulated account; a new `fuse` is a new process."""

    def __init__(self) -> None:
        self.fuse = Fuse()
        self.table = make_table()
        self.s3, self.sqs = clients()
        place: Any = {"LocationConstraint": REGION}
        self.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
        self.urls = [
            self.sqs.create_queue(QueueName=name)["QueueUrl"]
            for name in ("jobs", "bulk", "deliveries")
        ]
        for client in (self.table.meta.client, self.s3, self.sqs):
            # Under one name: the clients are used again, the fuse of this world is the last.
            client.meta.events.unregister("before-call.*", unique_id="fuse")
            client.meta.events.register("before-call.*", self._burn, unique_id="fuse")
        # It begins at the real time, which is in the ids.
        self.clock = FixedClock(datetime.now(UTC))
        self.classifier = FakeClassifier()
        self.client = a_client(mail=True, webhook="https://acme.example/h", retention_days=30)
        self.table.put_item(Item=records.client_item(self.client))
        self._wire()

    def _wire(self) -> None:
        clock, table = self.clock, self.table
        sources = S3SourceStore(lambda _id: self.s3, BUCKET, clock)
        self.documents = S3DocumentStore(lambda _id: self.s3, BUCKET, clock)
        self.jobs = DynamoJobStore(table, clock)
        self.studies = DynamoStudyStore(table, clock)
        self.ledger = DynamoLedger(table, clock)
        outbox = SqsOutbox(self.sqs, self.urls[2], clock)
        queue = SqsJobQueue(self.sqs, self.urls[0], self.urls[1])
        monitor = FakeMonitor()
        self.monitor = monitor
        directory = DynamoDirectory(table)
        intake = DynamoIntake(table, clock)
        self.intake = IntakeService(sources, intake, self.jobs, queue, self.ledger, clock)
        self.erasure = ErasureService(DynamoErasure(table, clock), self.documents, sources)
        endings = Endings(
            jobs=self.jobs,
            studies=self.studies,
            directory=directory,
            documents=self.documents,
            sources=sources,
            outbox=outbox,
            explain=explain,
            monitor=monitor,
            clock=clock,
        )
        reader = Reader(FakeDecoder(), FakeGate(), self.classifier, PlainReportWriter())
        self.worker = WorkerService(
            jobs=self.jobs,
            directory=directory,
            sources=sources,
            reader=lambda: reader,
            endings=endings,
            monitor=monitor,
            clock=clock,
        )
        self.sweeper = SweeperService(
            jobs=self.jobs,
            queue=queue,
            deliveries=DynamoDeliveryStore(table),
            outbox=outbox,
            uploads=DynamoSpentUploads(table),
            sources=sources,
            retention=RetentionService(
                store=DynamoRetentionStore(table),
                folders=S3StudyFolders(lambda _id: self.s3, BUCKET),
                erasure=self.erasure,
                monitor=monitor,
                clock=clock,
            ),
            erasure=self.erasure,
            endings=endings,
            monitor=monitor,
            clock=clock,
        )

    def _burn(self, model: Any, **_: object) -> None:
        self.fuse.burn(model.name)

    def enqueue(self, body: bytes) -> Message:
        study = self.intake.enqueue(a_caller(self.client), body)
        self.received()  # the message is on its way
        return Message(client_id=self.client.id, study_id=study.id)

    def received(self, queue: int = 0) -> list[str]:
        """Take all messages out of a queue."""
        found: list[str] = []
        while True:
            answer = self.sqs.receive_message(
                QueueUrl=self.urls[queue], MaxNumberOfMessages=10, VisibilityTimeout=FAR // 100
            )
            messages = answer.get("Messages", [])
            if not messages:
                return found
            found += [str(one.get("Body")) for one in messages]

    def sweep(self) -> None:
        self.sweeper.sweep(Deadline(FAR))

    def objects(self, prefix: str) -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return [str(one.get("Key")) for one in listed]

    def left_jobs(self) -> int:
        items = self.table.scan(ConsistentRead=True)["Items"]
        return sum(str(item["pk"]).startswith("JOBS#") for item in items)

    def deliveries(self) -> list[tuple[str, str]]:
        log = DynamoDeliveryStore(self.table).log(self.client.id, 100)
        return sorted((one.kind, one.channel) for one in log)

    def sent(self) -> set[str]:
        return {Notice.model_validate_json(body).channel for body in self.received(2)}

    def used(self) -> int:
        return self.ledger.usage(self.client).used


def killed(world: World, step: Callable[[], object], calls: int) -> bool:
    """Run a step in a process that dies after so many writes; False when it came to its end."""
    world.fuse = Fuse(calls)
    try:
        step()
    except Killed:
        return True
    finally:
        world.fuse = Fuse()
    return False


def redelivered(world: World, message: Message) -> None:
    """Bring the message back as SQS does, until it has done its work or is a dead letter."""
    for _ in range(MAX_ATTEMPTS + 1):
        world.clock.advance(960)
        if world.worker.work([message]) == (None,):
            return


def swept_first(world: World, message: Message) -> None:
    """Let the sweeper come before the message, which a dead worker hides for a while."""
    for _ in range(MAX_ATTEMPTS + 1):
        world.clock.advance(PATIENCE.total_seconds())
        world.sweep()
        for body in [*world.received(0), *world.received(1)]:
            world.worker.work([Message.model_validate_json(body)])
    redelivered(world, message)


IMAGES = {"good": b"an image", "bad": b"broken", "without a model": b"an image"}
