"""What became of a webhook and of its events, in words; and the waiting for a test's outcome."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from admin_cli.console import CliError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from admin_cli.tenants.webhook_registry import Webhook
    from chalicelib.domain import Delivery
    from chalicelib.ports import DeliveryStore, Outbox

_TEST_SECONDS = 120
_LOOKS_A_SECOND = 4


def outcome_of(
    delivery: Delivery,
    store: DeliveryStore,
    outbox: Outbox,
    wait: Callable[[float], None] = time.sleep,
) -> Delivery:
    """Store and send a test event, and return how its one try ended.

    `wait` waits for as many seconds as it is told. Raises CliError when nothing happens.
    """
    store.add(delivery)
    outbox.send(delivery)
    for _ in range(_TEST_SECONDS * _LOOKS_A_SECOND):
        found = store.get(delivery.client_id, delivery.id, delivery.channel)
        if found is None:
            raise CliError("the client was deleted meanwhile")
        if found.status != "pending":
            return found
        wait(1 / _LOOKS_A_SECOND)
    raise CliError(f"event {delivery.id} was not sent within {_TEST_SECONDS} seconds: see the log")


def minute(moment: datetime) -> str:
    """Return a moment as tables tell it."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def fares(webhook: Webhook) -> str:
    """Return how a webhook fares, in a few words."""
    if webhook.off_since is not None:
        return f"off since {minute(webhook.off_since)}: {webhook.off_because}"
    if webhook.failing_since is not None:
        return f"failing since {minute(webhook.failing_since)}"
    return "on"


def state(delivery: Delivery) -> str:
    """Return how a delivery stands, in a few words."""
    if delivery.status == "delivered":
        return f"delivered at try {delivery.attempt}"
    if delivery.next_at is None:
        return f"given up after try {delivery.attempt}: {delivery.last_error}"
    if not delivery.attempt:
        return "waits for its first try"
    return f"after try {delivery.attempt}, next {minute(delivery.next_at)}: {delivery.last_error}"
