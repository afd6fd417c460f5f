"""What must be told when a study ends, over which channel, and what came of each try."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, Field

from chalicelib.domain.base import ClientId, StudyId, Value

Channel = Literal["mail", "webhook"]
EventKind = Literal["study.succeeded", "study.failed", "test"]

# After so long an event is given up.
TELL_FOR = timedelta(hours=24)
# A webhook that has taken nothing for so long is switched off.
FAILING_FOR = timedelta(days=3)
# What a line of the log may say of a try, in characters.
MAX_REASON = 200


class Delivery(Value):
    """One event to be told over one channel, and how far that has come.

    `next_at`: when to try (again); None once it is `delivered` or given up (`failed`).
    `request_id`: of the request that queued the study, for the log.
    """

    id: str = Field(description="evt_ and a ULID: the event, the same on every channel and try.")
    client_id: ClientId
    channel: Channel
    kind: EventKind
    study_id: StudyId | None
    created_at: AwareDatetime
    status: Literal["pending", "delivered", "failed"] = "pending"
    attempt: int = 0
    next_at: AwareDatetime | None
    last_error: str = Field(default="", max_length=MAX_REASON)
    request_id: str = ""


class Notice(Value):
    """What lies in the queue: which delivery to make. It only points; the table knows."""

    client_id: ClientId
    event_id: str = Field(pattern=r"^evt_[0-9A-HJKMNP-TV-Z]{26}$")
    channel: Channel


class Outcome(Value):
    """What came of one try: it was `delivered`, may succeed `later`, or `never` will.

    `reason`: in our own words, for the client's log; never what the other side said.
    `wait`: for how long the other side asked to be left alone; None when it asked for nothing.
    `gone`: it said that it will take nothing any more, this event or another.
    """

    verdict: Literal["delivered", "later", "never"]
    reason: str = Field(default="", max_length=MAX_REASON)
    wait: timedelta | None = None
    gone: bool = False


class Health(Value):
    """How a client's webhook has fared at `url`. One that leads elsewhere by now starts anew.

    `failing_since`: when the first of its failures was, since when nothing succeeded and tries
    never stopped for longer than an event's day. `failed_at`: when the last one was. `off_since`:
    since when nothing is posted any more, `off_because`: why.
    """

    url: str = ""
    failing_since: AwareDatetime | None = None
    failed_at: AwareDatetime | None = None
    off_since: AwareDatetime | None = None
    off_because: str = Field(default="", max_length=MAX_REASON)


class SigningSecrets(Value):
    """What signs a client's events. `former` signs as well until `former_until`."""

    current: str = Field(repr=False)
    former: str | None = Field(default=None, repr=False)
    former_until: AwareDatetime | None = None

    def in_force(self, now: datetime) -> tuple[str, ...]:
        """Return the secrets that sign at `now`, the current one first."""
        if self.former is None or self.former_until is None or self.former_until <= now:
            return (self.current,)
        return (self.current, self.former)
