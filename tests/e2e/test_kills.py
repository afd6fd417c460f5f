"""A worker killed before and after each call by which it changes something, on the local AWS.

Real are: the queue with its receipts, redrive policy and dead letters, the table, the bucket, the
permissions of the functions' roles, the handlers of `app.py` with all their adapters, torch and the
pack, SIGKILL on a process, the deployed `sweep` and `deliver`, webhook and mail. Played here is who
stands between SQS and Lambda: the test takes messages out of the queue, hands them to the handler
and deletes those that its answer does not name. And time: what is hidden is shown at once, and a
lease is set back, so that nobody waits for minutes. The process is forked from one that is warm:
loading torch anew for each kill would take many minutes.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from admin_cli.emulator import LOCAL_CREDENTIALS
from chalicelib.domain import MAX_ATTEMPTS
from chalicelib.tenants import records
from tests.e2e.killing import Trap, hosted, proxied
from tests.e2e.test_queue import (
    SCHEDULED,
    WORKER,
    Api,
    item,
    let_time_pass,
    small_chest,
    sweep,
    until,
)
from tests.fakes.receiver import receiving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.e2e.conftest import Stack
    from tests.e2e.killing import Host, Moment, Proxy
    from tests.fakes.receiver import Receiver
    from tests.fakes.sink import Sink

SWEEPER = "radgate-local-sweep"
CLIENT = "killed"
BROKEN = b"\x89PNG\r\n\x1a\nbroken"
OURS = {"model_unavailable", "internal_error"}
ROUNDS = 20  # of messages that come and come again; a study has three attempts
# What a worker changes for a batch of a radiograph and a file that nobody can read.
TOLD = ["SendMessage", "SendMessage"]  # by mail and by webhook
BATCH = [
    "TransactWriteItems",  # the radiograph is begun
    "TransactWriteItems",  # the file is begun
    "TransactWriteItems",  # the file has failed
    *TOLD,
    "DeleteObject",
    "UpdateItem",  # the radiograph's lease, proven before documents are written
    "PutObject",
    "TransactWriteItems",  # it has succeeded
    *TOLD,
    "DeleteObject",
]
# And for three attempts without a model: begun and given back twice, begun and failed.
GIVEN_BACK = ["TransactWriteItems", "UpdateItem", "ChangeMessageVisibility"]
GIVEN_UP = ["TransactWriteItems", "TransactWriteItems", *TOLD]
ATTEMPTS = [*GIVEN_BACK, *GIVEN_BACK, *GIVEN_UP, "ChangeMessageVisibility"]
SECOND = range(len(GIVEN_BACK) + 1, 2 * len(GIVEN_BACK) + 1)  # is as the first
# And the sweeper, of a study that was begun as often as it may be.
SWEPT = GIVEN_UP


@dataclass
class World:
    """One client of the stack, its queue, and what AWS has of it."""

    stack: Stack
    aws: Callable[[str], Any]
    api: Api
    proxy: Proxy
    receiver: Receiver
    folder: Path

    @property
    def _queue(self) -> str:
        return str(self.aws("sqs").get_queue_url(QueueName="radgate-local-jobs")["QueueUrl"])

    @contextmanager
    def host(self, function: str, image: Path | None = None, **changed: str) -> Iterator[Host]:
        """Run a host of a deployed function's environment and role."""
        deployed = self.aws("lambda").get_function_configuration(FunctionName=function)
        granted = self.aws("sts").assume_role(RoleArn=deployed["Role"], RoleSessionName=function)
        environment = {
            **deployed["Environment"]["Variables"],
            "AWS_ACCESS_KEY_ID": granted["Credentials"]["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": granted["Credentials"]["SecretAccessKey"],
            "AWS_SESSION_TOKEN": granted["Credentials"]["SessionToken"],
            "AWS_DEFAULT_REGION": LOCAL_CREDENTIALS["AWS_DEFAULT_REGION"],
        }
        log = self.folder / f"{function}.log"
        with hosted(self.proxy, environment | changed, log, image) as host:
            yield host

    def event(self) -> dict[str, Any] | None:
        """Take what lies in the queue, as Lambda does; None when it is empty."""
        found = self.aws("sqs").receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10)
        taken = [
            {
                "messageId": one["MessageId"],
                "receiptHandle": one["ReceiptHandle"],
                "body": one["Body"],
                "eventSourceARN": f"arn:aws:sqs:::{self._queue.rpartition('/')[2]}",
            }
            for one in found.get("Messages", [])
        ]
        return {"Records": taken} if taken else None

    def hand_over(self, host: Host, event: dict[str, Any]) -> None:
        """Have a batch worked on; what failed, or was in a killed process, comes again at once."""
        answer = host.call("worker", event)
        records_, sqs = event["Records"], self.aws("sqs")
        failed = {one["messageId"] for one in records_}
        if answer is not None:
            failed = {one["itemIdentifier"] for one in answer["batchItemFailures"]}
        for one in records_:
            receipt = {"QueueUrl": self._queue, "ReceiptHandle": one["receiptHandle"]}
            if one["messageId"] in failed:
                sqs.change_message_visibility(**receipt, VisibilityTimeout=0)
            else:
                sqs.delete_message(**receipt)

    def live(self, host: Host, studies: Sequence[str]) -> None:
        """Let a host work until all studies have ended and no message is left."""
        for _ in range(ROUNDS):
            event = self.event()
            if event is not None:
                self.hand_over(host, event)
            elif all(self.row(one)["status"] in {"succeeded", "failed"} for one in studies):
                return
            else:
                sweep(self.aws)
            for study in studies:
                let_time_pass(self.aws, study)
        pytest.fail(f"still not ended: {[self.row(one) for one in studies]}")

    def row(self, study: str) -> dict[str, Any]:
        found = item(self.aws, records.study_key(CLIENT, study))
        return {name: next(iter(value.values())) for name, value in found.items()}

    def deliveries(self, study: str) -> list[dict[str, Any]]:
        """Return the deliveries of a study."""
        found = self.aws("dynamodb").query(
            TableName="radgate-local",
            KeyConditionExpression="pk = :pk AND begins_with(sk, :event)",
            ExpressionAttributeValues={
                ":pk": {"S": records.partition(CLIENT)},
                ":event": {"S": records.EVENT_PREFIX},
            },
        )["Items"]
        return [one for one in found if study in one["document"]["S"]]

    def names(self, prefix: str) -> list[str]:
        s3 = self.aws("s3")
        [bucket] = [
            one["Name"]
            for one in s3.list_buckets()["Buckets"]
            if one["Name"].startswith("radgate-local-")
        ]
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        return [one["Key"].removeprefix(prefix) for one in listed]

    def ended(self, study: str, status: str, code: str = "") -> None:
        """Hold a study to what is to be left of one that has ended so, and nothing else."""
        row = self.row(study)
        assert row["status"] == status, row
        assert f'"code":"{code}"' in row["document"] or not code, row
        assert item(self.aws, records.job_key(study)) == {}
        told = [one["sk"]["S"].rpartition("#") for one in self.deliveries(study)]
        assert sorted(channel for _, _, channel in told) == ["mail", "webhook"]
        assert len({event for event, _, _ in told}) == 1
        documents = self.names(f"clients/{CLIENT}/studies/{study}/")
        assert documents == (["report.pdf"] if status == "succeeded" else [])
        kept = 1 if code in OURS else 0  # it may be queued anew for a day
        assert len(self.names(f"uploads/{CLIENT}/{study}")) == kept


@pytest.fixture(scope="module")
def world(stack: Stack, sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    assert sink
    region = LOCAL_CREDENTIALS["AWS_DEFAULT_REGION"]
    session = boto3.session.Session("test", "test", region_name=region)
    made: dict[str, Any] = {}

    def aws(service: Any) -> Any:
        if service not in made:
            made[service] = session.client(service, endpoint_url=stack.aws_url)
        return made[service]

    with receiving() as receiver, proxied(stack.aws_url) as proxy:
        stack.radgate.json(
            *("clients", "create", CLIENT, "--name", "Killed", "--email", "ops@killed.example"),
            *("--plan", "clinic", "--mail", "on"),
        )
        url = f"http://127.0.0.1:{receiver.port}/hooks"
        stack.radgate.json("webhooks", "set", CLIENT, url)
        key = stack.radgate.json("keys", "issue", CLIENT)["secret"]
        folder = tmp_path_factory.mktemp("killed")
        with unhooked(aws):
            yield World(stack, aws, Api(stack, key), proxy, receiver, folder)


@contextmanager
def unhooked(aws: Callable[[Any], Any]) -> Iterator[None]:
    """Let neither a queue of jobs nor the minute wake a deployed function while the block runs."""
    functions, events = aws("lambda"), aws("events")
    mappings = functions.list_event_source_mappings(FunctionName=WORKER)["EventSourceMappings"]
    [rule] = [one["Name"] for one in events.list_rules()["Rules"] if SWEEPER in one["Name"]]

    def hook(*, on: bool) -> None:
        for one in mappings:
            functions.update_event_source_mapping(UUID=one["UUID"], Enabled=on)
        (events.enable_rule if on else events.disable_rule)(Name=rule)

    hook(on=False)
    try:
        yield
    finally:
        hook(on=True)


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chest") / "chest.png"
    path.write_bytes(small_chest())
    return path


@pytest.fixture(scope="module")
def host(world: World, chest: Path) -> Iterator[Host]:
    with world.host(WORKER, chest) as host:
        yield host


@pytest.fixture(scope="module")
def without_a_model(world: World, chest: Path) -> Iterator[Host]:
    with world.host(WORKER, chest, MODEL_DIR=str(world.folder)) as host:
        yield host


def traps(moment: Moment, writes: Sequence[str], *, but: range = range(0)) -> list[Trap | None]:
    """Return a trap for each write, `but` some, then none: the run that nothing harms."""
    numbers = (number for number in range(1, len(writes) + 1) if number not in but)
    return [*(Trap(number, moment) for number in numbers), None]


def told_once(world: World, sink: Sink, studies: dict[str, str]) -> None:
    """Hold webhook and mail to one event each for every study, given with how it ended."""
    sweep(world.aws)  # it rings for what a killed process did not send

    def statuses() -> set[str]:
        return {one["status"]["S"] for study in studies for one in world.deliveries(study)}

    until(statuses, lambda found: found == {"delivered"})
    bodies = [one.body.decode() for one in world.receiver.requests]
    subjects = [str(mail["Subject"]) for _, mail in sink.mails]
    for study, status in studies.items():
        [body] = [one for one in bodies if study in one]
        assert f'"study.{status}"' in body
        assert sum(study in one for one in subjects) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_batch_ends_once_wherever_its_worker_is_killed(
    world: World, sink: Sink, host: Host, chest: Path, moment: Moment
) -> None:
    told: dict[str, str] = {}
    for trap in traps(moment, BATCH):
        used = world.api.used()
        good, bad = world.api.queue(chest.read_bytes()), world.api.queue(BROKEN)
        world.proxy.arm(trap)
        world.live(host, [good, bad])
        assert world.proxy.sprung == (trap is not None), trap
        world.ended(good, "succeeded")
        world.ended(bad, "failed", "unreadable_image")
        assert world.api.used() == used + 1, trap
        told |= {good: "succeeded", bad: "failed"}
    assert world.proxy.made == BATCH, "of the last run, which nothing harmed"
    told_once(world, sink, told)


def test_a_failure_of_ours_is_refunded_once_wherever_its_worker_is_killed(
    world: World, sink: Sink, without_a_model: Host, chest: Path
) -> None:
    """After a write only: for AWS that is the same as before the next one."""
    told: dict[str, str] = {}
    for trap in traps("after", ATTEMPTS, but=SECOND):
        used = world.api.used()
        study = world.api.queue(chest.read_bytes())
        world.proxy.arm(trap)
        world.live(without_a_model, [study])
        assert world.proxy.sprung == (trap is not None), trap
        # Given up by the sweeper when the last attempt ended without a word.
        code = "model_unavailable" if '"model_un' in world.row(study)["document"] else ""
        world.ended(study, "failed", code or "internal_error")
        assert world.api.used() == used, trap
        told[study] = "failed"
    assert world.proxy.made[: len(ATTEMPTS)] == ATTEMPTS
    told_once(world, sink, told)
    letters = {one["study"] for one in world.stack.radgate.json("studies", "dlq", "list")}
    assert set(told) <= letters


def test_an_image_that_kills_is_given_up_once_wherever_the_sweeper_is_killed(
    world: World, sink: Sink, without_a_model: Host, chest: Path
) -> None:
    """Each attempt ends by SIGKILL once it has begun; then so does the sweeper that gives it up."""
    told: dict[str, str] = {}
    with world.host(SWEEPER) as sweeper:
        for trap in traps("after", SWEPT):
            used = world.api.used()
            study = world.api.queue(chest.read_bytes())
            for _ in range(MAX_ATTEMPTS):
                event = world.event()
                assert event is not None
                world.proxy.arm(Trap(1, "after"))
                world.hand_over(without_a_model, event)
                assert world.proxy.sprung
                let_time_pass(world.aws, study)
            assert world.event() is None, "it is a dead letter now"
            world.proxy.arm(trap)
            sweeper.call("sweep", SCHEDULED)
            assert world.proxy.sprung == (trap is not None), trap
            let_time_pass(world.aws, study)
            swept = world.proxy.made
            world.proxy.arm(None)
            world.live(without_a_model, [study])
            world.ended(study, "failed", "internal_error")
            assert world.api.used() == used, trap
            told[study] = "failed"
    assert swept[: len(SWEPT)] == SWEPT
    told_once(world, sink, told)
    letters = {one["study"] for one in world.stack.radgate.json("studies", "dlq", "list")}
    assert set(told) <= letters
