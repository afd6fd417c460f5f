"""Records of studies, with their place in the index by status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.domain import Study
from chalicelib.tenants.records.place import partition

if TYPE_CHECKING:
    from chalicelib.domain import Job
    from chalicelib.tenants.records.place import Item

STUDY_PREFIX = "STUDY#"


def study_key(client_id: str, study_id: str) -> Item:
    """Return the primary key of a study."""
    return {"pk": partition(client_id), "sk": f"{STUDY_PREFIX}{study_id}"}


def status_partition(client_id: str, status: str) -> str:
    """Return the index's partition key of a client's studies in one status."""
    return f"{partition(client_id)}#{status}"


def study_item(client_id: str, study: Study, job: Job | None = None) -> Item:
    """Return the record of a study, without its links: a link is a secret and soon stale.

    `job`: of a queued study that ends; where its bytes lay is kept. Should the worker die before
    it has erased them, whoever comes next finds them here. So is where its idempotency key is
    noted, which an erasure must find.
    """
    left_out = {"report", "heatmaps"} | (set() if study.findings else {"findings"})
    item = study_key(client_id, study.id) | {
        "gsi1pk": status_partition(client_id, study.status),
        "gsi1sk": study.id,
        "status": study.status.value,
        "created_at": study.created_at.isoformat(),
        "document": study.model_dump_json(exclude=left_out, exclude_none=True),
    }
    if job is None:
        return item
    once = {} if job.once is None else {"once": job.once}
    return item | {"source": job.object_name, "attempts": job.attempt} | once


def attempts_of(item: Item) -> int:
    """Return how often the study of a record was begun before it ended."""
    return int(item.get("attempts", 0))


def source_of(item: Item) -> str | None:
    """Return where the bytes of the study of a record lay, None when that is not known."""
    return item.get("source")


def once_of(item: Item) -> str | None:
    """Return where the idempotency key of the study of a record is noted, None without one."""
    return item.get("once")


def study_of(item: Item) -> Study:
    """Return the study of a record."""
    return Study.model_validate_json(item["document"], extra="ignore")
