"""The queue of deliveries: a bell for what is due soon; the table remembers the rest."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.domain import Notice
from chalicelib.errors import StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from chalicelib.domain import Delivery
    from chalicelib.ports import Clock

# Seconds. SQS holds a message back for 900 at most, and after 900 the queue's alarm takes it for
# one that nobody fetches.
LONGEST_DELAY = 600


class SqsOutbox:
    """Sends notices to the queue of the function `deliver`."""

    def __init__(self, sqs: SQSClient, queue_url: str, clock: Clock) -> None:
        self._sqs = sqs
        self._queue_url = queue_url
        self._clock = clock

    def send(self, delivery: Delivery) -> None:
        """Send, to arrive at `next_at`; what is due in more than 10 minutes is not sent at all.

        The sweeper rings for that when its time has come. A message that came early again and
        again and was put back would become two when the sweeper rang too, and never one again.
        Raises StorageUnavailable.
        """
        if delivery.next_at is None:
            return
        delay = max(0, ceil((delivery.next_at - self._clock()).total_seconds()))
        if delay > LONGEST_DELAY:
            return
        notice = Notice(
            client_id=delivery.client_id, event_id=delivery.id, channel=delivery.channel
        )
        try:
            self._sqs.send_message(
                QueueUrl=self._queue_url,
                MessageBody=notice.model_dump_json(),
                DelaySeconds=delay,
                # SQS then lets no client's slow server stand before the others' messages.
                MessageGroupId=delivery.client_id,
            )
        except (ClientError, BotoCoreError) as error:
            raise StorageUnavailable("The queue does not answer; please try again.") from error
