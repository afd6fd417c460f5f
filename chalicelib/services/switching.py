"""Switches a webhook off that is gone or has failed for days, so that nothing calls it for ever.

Nobody is written to: the receiver does not answer, and the operator sees it in the log, a metric
and `webhooks list`. What comes meanwhile is given up at once; `webhooks resume` begins anew.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.domain import FAILING_FOR, TELL_FOR, Health
from chalicelib.domain.deliveries import MAX_REASON
from chalicelib.errors import StorageUnavailable

if TYPE_CHECKING:
    from chalicelib.domain import Client, Outcome
    from chalicelib.ports import Clock, HealthStore, Monitor


@dataclass(frozen=True, slots=True)
class Switch:
    """Knows which webhooks are off."""

    store: HealthStore
    monitor: Monitor
    clock: Clock

    def off(self, client: Client) -> str:
        """Return why a client's webhook is off, empty while it is on. Raises StorageUnavailable."""
        health = self.store.health(client.id)
        if health.off_since is None or health.url != client.webhook:
            return ""
        return f"The webhook is off since {health.off_since:%Y-%m-%d %H:%M} UTC: resume it first."

    def note(self, client: Client, outcome: Outcome) -> None:
        """Note how a try at a client's webhook went. One that cannot be noted is as if not made."""
        with suppress(StorageUnavailable):
            before = self.store.health(client.id)
            known = before if before.url == client.webhook else Health(url=client.webhook or "")
            after = self._after(known, outcome)
            if after == known or not self.store.advance(client.id, before, after):
                return
            if after.off_since is not None:
                self.monitor.note("webhook off", client=client.id, reason=after.off_because)
                self.monitor.measure("WebhooksOff", 1, "Count")

    def _after(self, known: Health, outcome: Outcome) -> Health:
        if outcome.verdict == "delivered":
            return Health(url=known.url)
        now = self.clock()
        if known.off_since is not None:
            return known
        since, last = known.failing_since, known.failed_at or known.failing_since
        # An event is tried for that long. After a longer silence nobody knows how the webhook has
        # fared meanwhile, so its days begin anew.
        if since is None or last is None or now - last > TELL_FOR:
            since = now
        failing = known.model_copy(update={"failing_since": since, "failed_at": now})
        if outcome.gone:
            reason = outcome.reason
        elif now - since >= FAILING_FOR:
            reason = f"It took nothing for {FAILING_FOR.days} days. {outcome.reason}"
        else:
            return failing
        return failing.model_copy(update={"off_since": now, "off_because": reason[:MAX_REASON]})
