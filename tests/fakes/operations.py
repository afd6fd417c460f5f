"""What operates the service, in memory: a monitor that remembers, and the clients' retention."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ulid import ULID

from chalicelib.ports import Monitor, RetentionStore, StudyFolders
from chalicelib.tenants.retention import MOST_LEFT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from chalicelib.domain import Client
    from chalicelib.ports import Unit, Unreadable
    from tests.fakes.reports import InMemoryDocumentStore
    from tests.fakes.tenants import FakeDirectory, FakeStudyStore

Fact = str | float | None


@dataclass
class FakeMonitor(Monitor):
    """Keeps lines, values by metric, and defects by their kind."""

    lines: list[tuple[str, dict[str, Fact]]] = field(default_factory=list)
    values: list[tuple[str, float, dict[str, str]]] = field(default_factory=list)
    defects: list[tuple[str, Exception]] = field(default_factory=list)
    defect_facts: list[dict[str, Fact]] = field(default_factory=list)

    def note(self, event: str, **facts: Fact) -> None:
        self.lines.append((event, facts))

    def measure(self, metric: str, value: float, unit: Unit, **dimensions: str) -> None:
        del unit
        self.values.append((metric, value, dimensions))

    def defect(self, event: str, error: Exception, **facts: Fact) -> None:
        self.defects.append((event, error))
        self.defect_facts.append(facts)


class FakeRetentionStore(RetentionStore):
    """Reads the studies of `studies` in the order of their ids."""

    def __init__(self, directory: FakeDirectory, studies: FakeStudyStore) -> None:
        self._directory = directory
        self._studies = studies
        self._last = ""
        self._erased: dict[str, str] = {}
        self._left: dict[str, set[str]] = {}
        self._looked: dict[str, datetime] = {}

    def turn(self, at_most: int, unreadable: Unreadable | None = None) -> tuple[Client, ...]:
        del unreadable
        clients = self._directory.clients()
        behind = [client for client in clients if client.id > self._last]
        return tuple((behind or clients)[:at_most])

    def note_turn(self, client_id: str) -> None:
        self._last = client_id

    def old(self, client_id: str, before: datetime, at_most: int) -> tuple[str, ...]:
        page = self._studies.page(client_id, 10_000, None, None)
        bound, erased = (
            f"st_{str(ULID.from_datetime(before))[:10]}",
            self._erased.get(client_id, ""),
        )
        left = sorted(one for one in self._left.get(client_id, ()) if one < bound)
        ids = (study.id for study in reversed(page.items))
        further = [one for one in ids if erased < one < bound]
        return tuple(left + further[: max(1, at_most - len(left))])

    def note_erased(self, client_id: str, study_id: str) -> None:
        self._left.setdefault(client_id, set()).discard(study_id)
        self._erased[client_id] = max(study_id, self._erased.get(client_id, ""))

    def note_left(self, client_id: str, study_id: str) -> bool:
        left = self._left.setdefault(client_id, set())
        if study_id not in left and len(left) >= MOST_LEFT:
            return False
        left.add(study_id)
        self._erased[client_id] = max(study_id, self._erased.get(client_id, ""))
        return True

    def looked_at(self, client_id: str) -> datetime | None:
        return self._looked.get(client_id)

    def note_look(self, client_id: str, at: datetime) -> None:
        self._looked[client_id] = at


class FakeStudyFolders(StudyFolders):
    """Reads the names in `documents`."""

    def __init__(self, documents: InMemoryDocumentStore) -> None:
        self._documents = documents

    def old(self, client_id: str, before: datetime) -> Iterator[str]:
        prefix = f"clients/{client_id}/studies/"
        bound = f"{prefix}st_{str(ULID.from_datetime(before))[:10]}"
        names = (one for one in self._documents.names() if prefix <= one < bound)
        yield from sorted({one.removeprefix(prefix).partition("/")[0] for one in names})
