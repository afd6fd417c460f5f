"""A client's units as one request sees them: counted once, before the work, and kept in mind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.errors import QuotaExceeded

if TYPE_CHECKING:
    from chalicelib.domain import Caller, Usage
    from chalicelib.ports import Clock, Ledger


class Units:
    """What the caller of one request has left. The counter is read when it is first asked for.

    The transaction that stores a study is what holds the limit. This spares the work of a study
    that has no unit left, and tells the client where it stands.
    """

    def __init__(self, ledger: Ledger, caller: Caller) -> None:
        self._ledger = ledger
        self._caller = caller
        self._usage: Usage | None = None

    @property
    def counted(self) -> Usage | None:
        """The usage where it is known already; no storage is asked for it."""
        return self._usage

    def usage(self) -> Usage:
        """Return the usage of the current period. Raises StorageUnavailable."""
        if self._usage is None:
            self._usage = self._ledger.usage(self._caller.client)
        return self._usage

    def refuse_without(self, clock: Clock) -> None:
        """Raise QuotaExceeded when a live key's client has used its units up, as of a moment ago.

        Raises StorageUnavailable.
        """
        if self._caller.key.mode == "test":
            return
        usage = self.usage()
        if usage.remaining == 0:
            period = self._caller.client.plan.studies.period
            raise QuotaExceeded.until(usage.resets_at, usage.limit, period, clock())

    def spent(self) -> None:
        """Note that this request has stored a study; one of a test key costs nothing."""
        if self._usage is not None and self._caller.key.mode == "live":
            self._usage = self._usage.model_copy(update={"used": self._usage.used + 1})

    def forget(self) -> None:
        """Note that what was counted holds no longer: others were faster."""
        self._usage = None
