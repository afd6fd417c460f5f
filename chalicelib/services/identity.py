"""Who calls, and may they: the function's own check, which holds even where the gateway lags."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from cachetools import TTLCache

from chalicelib.domain import Caller, Scope, is_expired
from chalicelib.errors import (
    ClientSuspended,
    KeyExpired,
    KeyRevoked,
    KeyUnknown,
    ScopeMissing,
    StorageUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from chalicelib.ports import Clock, Directory

# How long a process may go on trusting what it read of a key. A revocation or a suspension
# is promised to hold within 30 s; the rest of that time is for the write to be made and for
# a request that was under way.
CACHE_SECONDS = 20.0
CACHED_KEYS = 4096
# Of a minute's uses of a key each process notes one at most, and the directory one of all.
NOTE_SECONDS = 60.0


class IdentityService:
    """Turns a secret into a caller, or says why not.

    `fingerprint` checks a secret's form and checksum without a look-up and returns its
    SHA-256 in hex; it raises KeyUnknown. `timer` returns seconds and never runs backwards.
    """

    def __init__(
        self,
        directory: Directory,
        fingerprint: Callable[[str], str],
        clock: Clock,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._fingerprint = fingerprint
        self._clock = clock
        self._callers: TTLCache[str, Caller] = TTLCache(CACHED_KEYS, CACHE_SECONDS, timer)
        self._noted: TTLCache[str, bool] = TTLCache(CACHED_KEYS, NOTE_SECONDS, timer)

    def verify(self, secret: str | None, scope: Scope) -> Caller:
        """Return the caller whose key may do `scope`.

        Raises KeyUnknown, KeyRevoked, KeyExpired, ClientSuspended, ScopeMissing or
        StorageUnavailable.
        """
        if not secret:
            raise KeyUnknown("Send your key in the header x-api-key.")
        caller = self._look_up(self._fingerprint(secret))
        if caller.key.revoked_at is not None:
            raise KeyRevoked("This key was revoked. Ask your operator for another.")
        if is_expired(caller.key, self._clock()):
            raise KeyExpired("This key has expired. Ask your operator for another.")
        if caller.client.status == "suspended":
            raise ClientSuspended("Access is paused for this client. Ask your operator.")
        if scope not in caller.key.scopes:
            raise ScopeMissing(f"This needs a key with the scope {scope}.", caller)
        self._note_use(caller)
        return caller

    def _note_use(self, caller: Caller) -> None:
        key, now = caller.key, self._clock()
        fresh = key.last_used_at and (now - key.last_used_at).total_seconds() < NOTE_SECONDS
        if fresh or key.id in self._noted:
            return
        # First, so that a table that fails is not asked again by every request.
        self._noted[key.id] = True
        with suppress(StorageUnavailable):  # the request matters more than the note of it
            self._directory.note_use(key, now)

    def _look_up(self, sha256: str) -> Caller:
        caller = self._callers.get(sha256)
        if caller is None:
            caller = self._directory.identify(sha256)
            if caller is None:
                # Not cached: a key must work the moment after it was issued.
                raise KeyUnknown("This key is not known here.")
            self._callers[sha256] = caller
        return caller
