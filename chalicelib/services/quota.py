"""Spares the work of a study that has no unit left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.errors import QuotaExceeded

if TYPE_CHECKING:
    from chalicelib.domain import Caller
    from chalicelib.ports import Clock, Ledger


def refuse_without_units(ledger: Ledger, caller: Caller, clock: Clock) -> None:
    """Raise QuotaExceeded when a live key's client has used its units up, as of a moment ago.

    The transaction that stores the study is what holds the limit. Raises StorageUnavailable.
    """
    if caller.key.mode == "test":
        return
    usage = ledger.usage(caller.client)
    if usage.remaining == 0:
        period = caller.client.plan.studies.period
        raise QuotaExceeded.until(usage.resets_at, usage.limit, period, clock())
