"""Hides SQS: two queues of messages that only point at a study."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.errors import StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from chalicelib.domain import Message

_log = logging.getLogger(__name__)


class SqsJobQueue:
    """Satisfies `ports.JobQueue`: `url` for a client's first studies, `bulk_url` for the rest."""

    def __init__(self, client: SQSClient, url: str, bulk_url: str) -> None:
        self._client = client
        self._url = url
        self._bulk_url = bulk_url

    def send(self, message: Message, *, bulk: bool) -> None:
        """Send to one of the queues. Raises StorageUnavailable."""
        try:
            self._client.send_message(
                QueueUrl=self._bulk_url if bulk else self._url,
                MessageBody=message.model_dump_json(),
                # On a standard queue this orders nothing: SQS serves the groups in fair turns.
                MessageGroupId=message.client_id,
            )
        except (ClientError, BotoCoreError) as error:
            _log.warning("job queue: send failed: %s", type(error).__name__)
            raise StorageUnavailable("The queue does not answer; please try again.") from None
