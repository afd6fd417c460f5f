"""Tells clients that their studies have ended: which deliveries there are, and each try of one.

A try is claimed before it is made: in one conditional write the delivery moves on to its next
try. So two functions never make the same try, and what a crash leaves behind comes up again at
that next time. A crash between a try and its note makes the client hear of an event twice, under
the same id; no crash makes it hear nothing, as long as tries are left.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from chalicelib.domain import TELL_FOR, Delivery, EventKind, Outcome, StudyStatus, new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from chalicelib.domain import Channel, Client, Notice, Study
    from chalicelib.ports import Clock, Courier, DeliveryStore, Directory, Monitor, Outbox
    from chalicelib.services.switching import Switch

# Longer than a function may run: whoever has claimed a try is done with it by then.
HOLD = timedelta(seconds=90)
# Up to so long, drawn by chance, the next try waits beyond HOLD: three times as long each time.
FIRST_SPREAD = timedelta(minutes=2)
LONGEST_SPREAD = timedelta(hours=4)
# Clocks differ by a moment; a message that comes so early is in time.
EARLY = timedelta(seconds=5)

ENDED_BY_ITSELF = "The try was begun and its outcome never noted."
_KINDS: dict[StudyStatus, EventKind] = {
    StudyStatus.SUCCEEDED: "study.succeeded",
    StudyStatus.FAILED: "study.failed",
}


def deliveries_for(
    client: Client, study: Study, now: datetime, request_id: str = ""
) -> tuple[Delivery, ...]:
    """Return what is to be told of a study that ends at `now`, by the channels a client wants.

    One event, and so one id, on all of them. Nothing for a study that was erased. `request_id`: of
    the request that queued it.
    """
    kind = _KINDS.get(study.status)
    if kind is None:
        return ()
    event_id = new_id("evt")
    return tuple(
        Delivery(
            id=event_id,
            client_id=client.id,
            channel=channel,
            kind=kind,
            study_id=study.id,
            created_at=now,
            next_at=now,
            request_id=request_id,
        )
        for channel in _channels(client)
    )


def a_test(client_id: str, channel: Channel, now: datetime) -> Delivery:
    """Return the delivery of a test event, which is tried once."""
    return Delivery(
        id=new_id("evt"),
        client_id=client_id,
        channel=channel,
        kind="test",
        study_id=None,
        created_at=now,
        next_at=now,
    )


def pause(attempt: int, chance: float) -> timedelta:
    """Return how long the try after number `attempt` (1 or more) waits; `chance` in [0, 1).

    Chance covers the whole spread (full jitter), so that what failed together does not come
    again together.
    """
    spread = min(LONGEST_SPREAD, FIRST_SPREAD * 3.0 ** min(attempt - 1, 10))
    return HOLD + spread * chance


@dataclass(frozen=True, slots=True)
class DeliveryService:
    """Makes deliveries. `chance` draws evenly from [0, 1)."""

    store: DeliveryStore
    directory: Directory
    outbox: Outbox
    couriers: Mapping[Channel, Courier]
    switch: Switch
    monitor: Monitor
    clock: Clock
    chance: Callable[[], float] = random.random

    def deliver(self, notice: Notice) -> Delivery | None:
        """Make the try that is due; return how the delivery stands then.

        None when there was nothing to do: it is done, unknown, another's at this moment, or its
        time has not come; then the sweeper rings for it. Raises StorageUnavailable.
        """
        found = self.store.get(notice.client_id, notice.event_id, notice.channel)
        now = self.clock()
        if found is None or found.next_at is None or found.next_at > now + EARLY:
            return None
        if found.attempt and now >= _last_moment(found):
            return self._note(found, _ended(found, "failed", found.last_error))
        claimed = found.model_copy(
            update={
                "attempt": found.attempt + 1,
                "next_at": now + pause(found.attempt + 1, self.chance()),
                "last_error": ENDED_BY_ITSELF,
            }
        )
        if self._move(found, claimed) is None:
            return None
        outcome, called = self._try(claimed)
        told = self._note(claimed, _after(claimed, outcome, self.clock()))
        if told is not None:
            self.outbox.send(told)
        if called is not None and claimed.kind != "test":  # an operator's own try is no sign
            self.switch.note(called, outcome)
        return told

    def _try(self, delivery: Delivery) -> tuple[Outcome, Client | None]:
        """Try once; return what came of it, and the client whose webhook was called, if one was."""
        client = self.directory.client(delivery.client_id)
        if client is None or client.deleting_at is not None:
            return Outcome(verdict="never", reason="The client is being deleted."), None
        if delivery.study_id and self.store.erased(client.id, delivery.study_id):
            return Outcome(verdict="never", reason="The study was erased."), None
        if delivery.channel not in _channels(client):
            reason = f"The {delivery.channel} was switched off."
            return Outcome(verdict="never", reason=reason), None
        courier = self.couriers[delivery.channel]
        if delivery.channel != "webhook":
            return courier.tell(client, delivery), None
        if reason := self.switch.off(client):
            return Outcome(verdict="never", reason=reason), None
        return courier.tell(client, delivery), client

    def _note(self, before: Delivery, after: Delivery) -> Delivery | None:
        """Note how a delivery stands, and tell the operator, without the address."""
        if self._move(before, after) is None:
            return None
        self.monitor.note(
            "delivery",
            event_id=after.id,
            client=after.client_id,
            study_id=after.study_id,
            request_id=after.request_id,
            channel=after.channel,
            status=after.status,
            attempt=after.attempt,
            reason=after.last_error,
        )
        outcome = "again" if after.status == "pending" else after.status
        self.monitor.measure("Deliveries", 1, "Count", channel=after.channel, outcome=outcome)
        return after

    def _move(self, before: Delivery, after: Delivery) -> Delivery | None:
        return after if self.store.advance(before, after) else None


def _after(claimed: Delivery, outcome: Outcome, now: datetime) -> Delivery:
    """Return how a delivery stands after a try that ended at `now`.

    Its `next_at` was set when the try was claimed. It is put off for as long as the other side
    asked for, but not beyond a last try within the event's day.
    """
    if outcome.verdict == "delivered":
        return _ended(claimed, "delivered", "")
    again = claimed.next_at is not None and claimed.next_at < _last_moment(claimed)
    if outcome.verdict == "never" or not again or claimed.kind == "test":
        return _ended(claimed, "failed", outcome.reason)
    next_at = claimed.next_at
    if outcome.wait is not None and next_at is not None:
        asked = now + min(outcome.wait, TELL_FOR)
        next_at = max(next_at, min(asked, _last_moment(claimed) - HOLD))
    return claimed.model_copy(update={"last_error": outcome.reason, "next_at": next_at})


def _ended(delivery: Delivery, status: str, reason: str) -> Delivery:
    return delivery.model_copy(update={"status": status, "next_at": None, "last_error": reason})


def _last_moment(delivery: Delivery) -> datetime:
    return delivery.created_at + TELL_FOR


def _channels(client: Client) -> Iterator[Channel]:
    if client.mail:
        yield "mail"
    if client.webhook is not None:
        yield "webhook"
