"""The outbox on a real queue protocol, with moto."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import boto3
import pytest

from chalicelib.delivery.outbox import SqsOutbox
from chalicelib.domain import Notice
from chalicelib.errors import StorageUnavailable
from tests.fakes.clock import FixedClock
from tests.fakes.deliveries import a_delivery, notice_of
from tests.fakes.values import NOON

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@pytest.fixture
def sqs(account: None) -> SQSClient:
    del account
    return boto3.client("sqs")


@pytest.fixture
def url(sqs: SQSClient) -> str:
    return sqs.create_queue(QueueName="radgate-test-deliveries")["QueueUrl"]


def counts(sqs: SQSClient, url: str) -> tuple[int, int]:
    """Return how many messages can be fetched and how many are held back."""
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return (
        int(found["ApproximateNumberOfMessages"]),
        int(found["ApproximateNumberOfMessagesDelayed"]),
    )


def test_what_is_due_arrives_at_once_and_points_at_its_delivery(sqs: SQSClient, url: str) -> None:
    delivery = a_delivery()
    SqsOutbox(sqs, url, FixedClock(NOON)).send(delivery)
    answer = sqs.receive_message(QueueUrl=url, AttributeNames=["MessageGroupId"])
    [message] = answer["Messages"]
    assert Notice.model_validate_json(message["Body"]) == notice_of(delivery)
    assert message["Attributes"]["MessageGroupId"] == "acme"


@pytest.mark.parametrize(
    ("wait", "found"),
    [
        (timedelta(hours=-3), (1, 0)),
        (timedelta(0), (1, 0)),
        (timedelta(milliseconds=1), (0, 1)),
        (timedelta(minutes=10), (0, 1)),
        (timedelta(minutes=10, milliseconds=1), (0, 0)),
        (timedelta(hours=4), (0, 0)),
    ],
)
def test_what_is_due_later_is_held_back_or_left_to_the_sweeper(
    sqs: SQSClient, url: str, wait: timedelta, found: tuple[int, int]
) -> None:
    SqsOutbox(sqs, url, FixedClock(NOON)).send(a_delivery(next_at=NOON + wait))
    assert counts(sqs, url) == found


def test_what_has_ended_is_not_sent(sqs: SQSClient, url: str) -> None:
    SqsOutbox(sqs, url, FixedClock(NOON)).send(a_delivery(status="delivered", next_at=None))
    assert counts(sqs, url) == (0, 0)


def test_without_a_queue_there_is_a_clear_error(sqs: SQSClient, url: str) -> None:
    sqs.delete_queue(QueueUrl=url)
    with pytest.raises(StorageUnavailable):
        SqsOutbox(sqs, url, FixedClock(NOON)).send(a_delivery())
