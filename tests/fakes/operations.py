"""What operates the service, in memory: a monitor that remembers, and the clients' retention."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ulid import ULID

from chalicelib.ports import Monitor, RetentionStore

if TYPE_CHECKING:
    from datetime import datetime

    from chalicelib.domain import Client
    from chalicelib.ports import Unit
    from tests.fakes.tenants import FakeDirectory, FakeStudyStore

Fact = str | float | None


@dataclass
class FakeMonitor(Monitor):
    """Keeps lines, values by metric, and defects by their kind."""

    lines: list[tuple[str, dict[str, Fact]]] = field(default_factory=list)
    values: list[tuple[str, float, dict[str, str]]] = field(default_factory=list)
    defects: list[tuple[str, Exception]] = field(default_factory=list)

    def note(self, event: str, **facts: Fact) -> None:
        self.lines.append((event, facts))

    def measure(self, metric: str, value: float, unit: Unit, **dimensions: str) -> None:
        del unit
        self.values.append((metric, value, dimensions))

    def defect(self, event: str, error: Exception, **facts: Fact) -> None:
        del facts
        self.defects.append((event, error))


class FakeRetentionStore(RetentionStore):
    """Reads the studies of `studies` in the order of their ids."""

    def __init__(self, directory: FakeDirectory, studies: FakeStudyStore) -> None:
        self._directory = directory
        self._studies = studies
        self._last = ""
        self._erased: dict[str, str] = {}

    def turn(self, at_most: int) -> tuple[Client, ...]:
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
        ids = (study.id for study in reversed(page.items))
        return tuple(one for one in ids if erased < one < bound)[:at_most]

    def note_erased(self, client_id: str, study_id: str) -> None:
        self._erased[client_id] = max(study_id, self._erased.get(client_id, ""))
