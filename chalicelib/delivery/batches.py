"""Hides how SQS hands messages to a function: its events, its answers, and when to come again."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from chalicelib.domain import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    from mypy_boto3_sqs import SQSClient

_log = logging.getLogger(__name__)
# Of a message that cannot be read: nobody else can either, so it may as well come at once.
_UNREADABLE_AGAIN = 0


@dataclass(frozen=True, slots=True)
class SqsBatches:
    """Takes an event of SQS apart and tells SQS which of its messages are to come again.

    `urls`: the address of each queue by its name. Left alone, a message that failed would stay
    hidden for as long as the queue's visibility timeout, which is longer than a worker may run.
    """

    client: SQSClient
    urls: Mapping[str, str]

    def handle(
        self,
        event: Mapping[str, Any],
        work: Callable[[Sequence[Message]], Sequence[timedelta | None]],
    ) -> dict[str, list[dict[str, str]]]:
        """Have `work` done on the messages of an event; return the answer that SQS expects.

        `work` returns for each after how long it is to come again, None when it is done with. A
        message that cannot be read comes again until it is a dead letter.
        """
        readable: list[Mapping[str, Any]] = []
        messages: list[Message] = []
        failed: list[tuple[Mapping[str, Any], int]] = []
        for record in event["Records"]:
            try:
                messages.append(Message.model_validate_json(record["body"], extra="ignore"))
            except ValidationError:
                _log.warning("job queue: message %s cannot be read", record["messageId"])
                failed.append((record, _UNREADABLE_AGAIN))
            else:
                readable.append(record)
        if messages:
            for record, again in zip(readable, work(messages), strict=True):
                if again is not None:
                    failed.append((record, int(again.total_seconds())))
        for record, seconds in failed:
            self._postpone(record, seconds)
        return {"batchItemFailures": [{"itemIdentifier": str(r["messageId"])} for r, _ in failed]}

    def _postpone(self, record: Mapping[str, Any], seconds: int) -> None:
        url = self.urls.get(str(record["eventSourceARN"]).rpartition(":")[2])
        if url is None:
            return
        try:
            self.client.change_message_visibility(
                QueueUrl=url, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=seconds
            )
        except (ClientError, BotoCoreError) as error:
            # It then comes when the queue's own time is over; the sweeper may be faster.
            _log.warning("job queue: postponing failed: %s", type(error).__name__)
