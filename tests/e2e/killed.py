"""A client whose queue a test works on by itself, and what is left of its studies."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from admin_cli.emulator import LOCAL_CREDENTIALS
from chalicelib.tenants import records
from tests.e2e.killing import hosted
from tests.e2e.test_queue import WORKER, Api, item, let_time_pass, sweep, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.e2e.conftest import Stack
    from tests.e2e.killing import Host, Proxy
    from tests.fakes.receiver import Receiver
    from tests.fakes.sink import Sink

CLIENT = "killed"
SWEEPER = "radgate-local-sweep"
OURS = {"model_unavailable", "internal_error"}
ROUNDS = 20  # of messages that come and come again; a study has three attempts


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
        job = item(self.aws, records.job_key(study))
        assert not job, job
        told = [one["sk"]["S"].rpartition("#") for one in self.deliveries(study)]
        assert sorted(channel for _, _, channel in told) == ["mail", "webhook"], told
        assert len({event for event, _, _ in told}) == 1, told
        documents = self.names(f"clients/{CLIENT}/studies/{study}/")
        assert documents == (["report.pdf"] if status == "succeeded" else []), documents
        kept = 1 if code in OURS else 0  # it may be queued anew for a day
        posted = self.names(f"uploads/{CLIENT}/{study}")
        assert len(posted) == kept, posted


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
