"""Tells the operator what was erased, so that it can be erased again after a restore."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from chalicelib.domain import Job
    from chalicelib.ports import Erasure


@dataclass(frozen=True, slots=True)
class LoggedErasure:
    """Satisfies `ports.Erasure` with another one, and notes each study that it makes `deleted`.

    `note`: writes a line of the log, of an event and its facts, which are ids alone. The line
    comes once the study is deleted; if the process dies between the two, the sweeper, who finishes
    the erasure, writes it.
    """

    erasure: Erasure
    note: Callable[..., None]

    def begin(self, client_id: str, study_id: str) -> Job:
        """Begin as the other does, and note it. Raises NotFound or StorageUnavailable."""
        job = self.erasure.begin(client_id, study_id)
        self.note("study erased", client=client_id, study_id=study_id)
        return job

    def end(self, job: Job) -> None:
        """End as the other does. Raises StorageUnavailable."""
        self.erasure.end(job)
