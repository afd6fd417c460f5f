"""Directory, ledger and study store in memory: what services are tested with, and demos run on."""

from __future__ import annotations

from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING

from chalicelib.domain import ApiKey, Caller, Client, Study, StudyPage, StudyStatus, Usage
from chalicelib.errors import InvalidRequest, NotFound
from chalicelib.ports import Directory, Ledger, StudyStore
from chalicelib.tenants import periods

if TYPE_CHECKING:
    from datetime import datetime

    from chalicelib.ports import Clock


class FakeDirectory(Directory):
    """Clients and keys in two dictionaries; `put` adds or replaces."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}
        self._keys: dict[str, ApiKey] = {}

    def put(self, client: Client, *keys: ApiKey) -> None:
        self._clients[client.id] = client
        self._keys.update({key.sha256: key for key in keys})

    def identify(self, sha256: str) -> Caller | None:
        key = self._keys.get(sha256)
        client = key and self._clients.get(key.client_id)
        return Caller(client=client, key=key) if client and key else None

    def client(self, client_id: str) -> Client | None:
        return self._clients.get(client_id)

    def clients(self) -> tuple[Client, ...]:
        """Return all clients by id."""
        return tuple(self._clients[one] for one in sorted(self._clients))

    def keys(self, client_id: str) -> tuple[ApiKey, ...]:
        every = (key for key in self._keys.values() if key.client_id == client_id)
        own = sorted(every, key=lambda key: key.id)
        revoked = [key for key in own if key.revoked_at is not None][-20:]
        return tuple(key for key in own if key.revoked_at is None or key in revoked)

    def note_use(self, key: ApiKey, at: datetime) -> None:
        known = self._keys.get(key.sha256)
        if known is None:
            return
        if known.last_used_at is None or at - known.last_used_at >= timedelta(minutes=1):
            second = at.replace(microsecond=0)
            self._keys[key.sha256] = known.model_copy(update={"last_used_at": second})


class FakeLedger(Ledger):
    """Counters by client and first day of the period."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._used: dict[tuple[str, datetime], int] = {}

    def usage(self, client: Client) -> Usage:
        quota, now = client.plan.studies, self._clock()
        begin = periods.start(quota, now)
        return Usage(
            used=self._used.get((client.id, begin), 0),
            limit=quota.limit,
            period_start=begin,
            resets_at=periods.end(quota, now),
        )

    def give_back(self, client_id: str, period_start: datetime) -> None:
        """Take one unit off the counter of the period that began then."""
        self._used[client_id, period_start] -= 1

    def meter(self, client: Client, at: datetime) -> None:
        quota = client.plan.studies
        counter = (client.id, periods.start(quota, at))
        used = self._used.get(counter, 0)
        if used >= quota.limit:
            raise periods.refusal(quota, at, self._clock())
        self._used[counter] = used + 1


class FakeStudyStore(StudyStore):
    """Studies in a dictionary per client, metered in `ledger`."""

    def __init__(self, ledger: FakeLedger) -> None:
        self._ledger = ledger
        self._studies: dict[str, dict[str, Study]] = {}
        self._lock = Lock()

    def add(self, caller: Caller, study: Study) -> None:
        with self._lock:
            own = self._studies.setdefault(caller.client.id, {})
            if study.id in own:
                return
            if caller.key.mode == "live":
                self._ledger.meter(caller.client, study.created_at)
            own[study.id] = study.model_copy(update={"report": None, "heatmaps": ()})

    def remove(self, client_id: str, study_id: str) -> None:
        """Forget a study, as the deletion of its client does."""
        del self._studies[client_id][study_id]

    def place(self, client_id: str, study: Study) -> None:
        """Store a study as it is, in the place of one that may be there."""
        self._studies.setdefault(client_id, {})[study.id] = study

    def get(self, client_id: str, study_id: str) -> Study:
        try:
            return self._studies[client_id][study_id]
        except KeyError:
            raise NotFound("There is no study with this id.") from None

    def page(
        self, client_id: str, limit: int, cursor: str | None, status: StudyStatus | None
    ) -> StudyPage:
        ids = sorted(self._studies.get(client_id, {}), reverse=True)
        studies = [self._studies[client_id][one] for one in ids]
        if cursor is not None:
            owner, _, before = cursor.partition("/")
            if owner != client_id or before not in ids:
                raise InvalidRequest("The cursor is not one that this list gave out.")
            studies = [study for study in studies if study.id < before]
        if status is not None:
            studies = [study for study in studies if study.status is status]
        more, studies = len(studies) > limit, studies[:limit]
        return StudyPage(
            items=tuple(studies),
            next_cursor=f"{client_id}/{studies[-1].id}" if more else None,
        )
