"""Messages to the workers over moto: which queue, what they hold, and how a failure looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from chalicelib.delivery.queue import SqsJobQueue
from chalicelib.domain import Message
from chalicelib.errors import StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MESSAGE = Message(client_id="acme", study_id="st_01JD8Z5M3Q4R6S7T8V9W0XYZAB")


@pytest.fixture
def sqs(account: None) -> SQSClient:
    del account
    once = Config(retries={"total_max_attempts": 1})
    return boto3.client("sqs", config=once)


@pytest.mark.parametrize("bulk", [False, True])
def test_a_message_lies_in_the_queue_that_was_meant_grouped_by_client(
    sqs: SQSClient, *, bulk: bool
) -> None:
    urls = [sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("jobs", "jobs-bulk")]
    SqsJobQueue(sqs, urls[0], urls[1]).send(MESSAGE, bulk=bulk)
    meant, other = urls[::-1] if bulk else urls
    [received] = sqs.receive_message(QueueUrl=meant, AttributeNames=["All"])["Messages"]
    assert Message.model_validate_json(received["Body"]) == MESSAGE
    assert received["Attributes"]["MessageGroupId"] == "acme"
    assert "Messages" not in sqs.receive_message(QueueUrl=other)


def test_a_queue_that_is_gone_is_storage_unavailable_and_tells_nothing(
    sqs: SQSClient, caplog: pytest.LogCaptureFixture
) -> None:
    url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
    sqs.delete_queue(QueueUrl=url)
    with pytest.raises(StorageUnavailable) as failed:
        SqsJobQueue(sqs, url, url).send(MESSAGE, bulk=False)
    assert failed.value.__suppress_context__
    assert "acme" not in failed.value.detail + caplog.text
    assert "send failed" in caplog.text
