"""Retention: what has outlived its client's time is erased, with a row in the table or without."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from chalicelib.errors import NotFound

if TYPE_CHECKING:
    from datetime import datetime

    from chalicelib.domain import Client
    from chalicelib.ports import Clock, Monitor, RetentionStore, StudyFolders
    from chalicelib.services.erasure import ErasureService
    from chalicelib.services.sweeper import Swept
    from chalicelib.services.timing import Deadline

# How much of a run's time is left when this ends, in seconds.
AFTER = 5.0
# How many clients have their turn at once, and how many studies of one are erased in it.
CLIENTS = 25
STUDIES = 100
# So often a client's documents are looked through for those that no row names. Each look is a
# request to S3, and it is rare that it finds any.
LOOK_EVERY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class RetentionService:
    """Erases what is too old, client by client, going on where the last run stopped.

    A study that cannot be erased is reported and tried again at each turn of its client. It
    holds up neither the client's other studies nor the next client.
    """

    store: RetentionStore
    folders: StudyFolders
    erasure: ErasureService
    monitor: Monitor
    clock: Clock

    def expire(self, swept: Swept, deadline: Deadline) -> None:
        """Erase what is too old, as far as time goes. Raises StorageUnavailable."""
        done: set[str] = set()
        told: set[str] = set()

        def unreadable(error: Exception, **ids: str) -> None:
            if told.isdisjoint(ids.values()):  # it comes round as often as the others
                told.add(ids["pk"])
                swept.unreadable(self.monitor, error, **ids)

        while deadline.left() >= AFTER:
            clients = self.store.turn(CLIENTS, unreadable)
            if not clients or done.issuperset(client.id for client in clients):
                return
            for client in clients:
                if self._turn(swept, client, deadline):
                    done.add(client.id)
                if deadline.left() < AFTER:
                    return
                # Only now: what a run does not get to do is this client's turn again.
                self.store.note_turn(client.id)

    def _turn(self, swept: Swept, client: Client, deadline: Deadline) -> bool:
        """Give a client its turn; tell whether there is nothing more to do for it in this run."""
        before = self.clock() - timedelta(days=client.retention_days)
        try:
            return self._studies(swept, client, before, deadline) and self._strays(
                swept, client, before, deadline
            )
        except Exception as error:  # noqa: BLE001 - it is reported, and the next client has its turn
            self._failed(swept, error, client.id)
            return True

    def _studies(self, swept: Swept, client: Client, before: datetime, deadline: Deadline) -> bool:
        """Erase a client's oldest studies; tell whether that was all."""
        found = self.store.old(client.id, before, STUDIES)
        for study_id in found:
            if deadline.left() < AFTER:
                return False
            try:
                self.erasure.erase(client.id, study_id)
            except NotFound:  # the client is being deleted, with all of its studies
                return True
            except Exception as error:  # noqa: BLE001 - it is reported and comes again
                self._failed(swept, error, client.id, study_id)
                if not self.store.note_left(client.id, study_id):
                    return True
            else:
                self.store.note_erased(client.id, study_id)
                swept.expired += 1
        return len(found) < STUDIES

    def _strays(self, swept: Swept, client: Client, before: datetime, deadline: Deadline) -> bool:
        """Once a day, erase the old documents that are left; tell whether that was all.

        What is this old and still there has no row, since a crash came between the two, or one
        that could not be erased.
        """
        now, last = self.clock(), self.store.looked_at(client.id)
        if client.deleting_at is not None or (last is not None and now - last < LOOK_EVERY):
            return True
        for study_id in self.folders.old(client.id, before):
            if deadline.left() < AFTER:
                return False
            try:
                self.erasure.forget(client.id, study_id)
            except Exception as error:  # noqa: BLE001 - it is reported and comes again
                self._failed(swept, error, client.id, study_id)
            else:
                swept.strays += 1
        self.store.note_look(client.id, now)
        return True

    def _failed(self, swept: Swept, error: Exception, client_id: str, study_id: str = "") -> None:
        swept.failures += 1
        self.monitor.defect("sweep", error, client=client_id, study_id=study_id or None)
