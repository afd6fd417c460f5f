"""How domain values lie in the table, and back.

| what    | pk             | sk              | index gsi1                                    |
| ------- | -------------- | --------------- | --------------------------------------------- |
| client  | CLIENT#<id>    | CLIENT          | gsi1pk CLIENTS, gsi1sk <id>                   |
| key     | CLIENT#<id>    | KEY#<key id>    |                                               |
| pointer | HASH#<sha256>  | HASH            | immutable: whose key has this hash            |
| pointer | KEY#<key id>   | KEY             | immutable: whose key has this id              |
| study   | CLIENT#<id>    | STUDY#<id>      | gsi1pk CLIENT#<id>#<status>, gsi1sk <id>      |
| usage   | CLIENT#<id>    | USAGE#<date>    | `used` of the period that begins on that date |
| terms   | CLIENT#<id>    | TERMS#<time>    | the plan that held from that time on          |
| upload  | CLIENT#<id>    | UPLOAD#<id>     | forgotten at `expires_at_epoch`               |
| once    | CLIENT#<id>    | ONCE#<sha256>   | an idempotency key's study; forgotten likewise |
| job     | JOBS#<shard>   | <study id>      | what a worker needs of a queued study         |
| webhook | CLIENT#<id>    | WEBHOOK         | the secrets that sign a client's events       |
| event   | CLIENT#<id>    | EVENT#<id>#<ch> | gsi1pk DUE#<shard>, gsi1sk next try, while due |
| former  | CLIENT#<id>    | FORMER          | gsi1pk FORMER, gsi1sk <id>: a deleted client  |

The audit trail has a partition of its own (`audit.py`).

The index needs no attributes but its keys: readers take the ids and fetch the items
themselves, consistently. What a record holds beyond the fields of its domain value is ignored,
so that a release can be rolled back after a newer one has written.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any
from zlib import crc32

from chalicelib.domain import ApiKey, Client, Delivery, Job, Plan, Study, Upload

if TYPE_CHECKING:
    from datetime import datetime

    from chalicelib.domain import Idempotency

INDEX = "gsi1"
ALL_CLIENTS = "CLIENTS"
FORMER_CLIENTS = "FORMER"
JOB_SHARDS = "0123456789abcdef"
KEY_PREFIX = "KEY#"
STUDY_PREFIX = "STUDY#"
TERMS_PREFIX = "TERMS#"
USAGE_PREFIX = "USAGE#"
EVENT_PREFIX = "EVENT#"
# What is due lies in so many partitions of the index, for no single one to take every write.
DUE_SHARDS = 4
# For so long the log tells of a delivery; then DynamoDB forgets it.
DELIVERY_LIFE = timedelta(days=30)
# DynamoDB drops a record some time after this moment, in seconds since the epoch: up to two days
# later, so a reader must look at the time itself.
FORGOTTEN_AT = "expires_at_epoch"

Item = dict[str, Any]


def moment(at: datetime) -> str:
    """Return an aware time as text whose order is the order of time: always with microseconds."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def partition(client_id: str) -> str:
    """Return the partition key of everything that belongs to one client."""
    return f"CLIENT#{client_id}"


def client_key(client_id: str) -> Item:
    """Return the primary key of a client's record."""
    return {"pk": partition(client_id), "sk": "CLIENT"}


def api_key_key(client_id: str, key_id: str) -> Item:
    """Return the primary key of a key's record."""
    return {"pk": partition(client_id), "sk": f"{KEY_PREFIX}{key_id}"}


def hash_pointer_key(sha256: str) -> Item:
    """Return the primary key of the pointer from a hash to a key."""
    return {"pk": f"HASH#{sha256}", "sk": "HASH"}


def id_pointer_key(key_id: str) -> Item:
    """Return the primary key of the pointer from a key's id to its client."""
    return {"pk": f"KEY#{key_id}", "sk": "KEY"}


def study_key(client_id: str, study_id: str) -> Item:
    """Return the primary key of a study."""
    return {"pk": partition(client_id), "sk": f"{STUDY_PREFIX}{study_id}"}


def usage_key(client_id: str, period_start: datetime) -> Item:
    """Return the primary key of the usage in the period that begins at `period_start`, in UTC."""
    return {"pk": partition(client_id), "sk": f"{USAGE_PREFIX}{period_start:%Y-%m-%d}"}


def former_key(client_id: str) -> Item:
    """Return the primary key of what is kept of a deleted client."""
    return {"pk": partition(client_id), "sk": "FORMER"}


def terms_item(client: Client, since: datetime) -> Item:
    """Return the record of the plan that a client has from `since` on, for its invoices."""
    return {
        "pk": partition(client.id),
        "sk": f"{TERMS_PREFIX}{moment(since)}",
        "plan": client.plan.model_dump_json(),
    }


def status_partition(client_id: str, status: str) -> str:
    """Return the index's partition key of a client's studies in one status."""
    return f"{partition(client_id)}#{status}"


def client_item(client: Client) -> Item:
    """Return the record of a client. What may be None is absent, for conditions to test."""
    fields = client.model_dump(mode="json", exclude={"plan"}, exclude_none=True)
    # As text, because DynamoDB has no floating point and the plan is never queried.
    return (
        client_key(client.id)
        | {"gsi1pk": ALL_CLIENTS, "gsi1sk": client.id}
        | fields
        | {"plan": client.plan.model_dump_json()}
    )


def client_of(item: Item) -> Client:
    """Return the client of a record."""
    fields = item | {"plan": Plan.model_validate_json(item["plan"], extra="ignore")}
    return Client.model_validate(fields, extra="ignore")


def api_key_items(key: ApiKey) -> tuple[Item, Item, Item]:
    """Return a key's record and its two pointers, to be written together or not at all."""
    fields = key.model_dump(mode="json", exclude_none=True)
    fields["scopes"] = sorted(fields["scopes"])
    owner = {"client_id": key.client_id}
    return (
        api_key_key(key.client_id, key.id) | fields,
        hash_pointer_key(key.sha256) | owner | {"key_id": key.id},
        id_pointer_key(key.id) | owner | {"sha256": key.sha256},
    )


def api_key_of(item: Item) -> ApiKey:
    """Return the key of a record."""
    return ApiKey.model_validate(item, extra="ignore")


def study_item(client_id: str, study: Study, job: Job | None = None) -> Item:
    """Return the record of a study, without its links: a link is a secret and soon stale.

    `job`: of a queued study that ends; where its bytes lay is kept. Should the worker die before
    it has erased them, whoever comes next finds them here.
    """
    left_out = {"report", "heatmaps"} | (set() if study.findings else {"findings"})
    item = study_key(client_id, study.id) | {
        "gsi1pk": status_partition(client_id, study.status),
        "gsi1sk": study.id,
        "status": study.status.value,
        "created_at": study.created_at.isoformat(),
        "document": study.model_dump_json(exclude=left_out, exclude_none=True),
    }
    return item if job is None else item | {"source": job.object_name, "attempts": job.attempt}


def attempts_of(item: Item) -> int:
    """Return how often the study of a record was begun before it ended."""
    return int(item.get("attempts", 0))


def source_of(item: Item) -> str | None:
    """Return where the bytes of the study of a record lay, None when that is not known."""
    return item.get("source")


def study_of(item: Item) -> Study:
    """Return the study of a record."""
    return Study.model_validate_json(item["document"], extra="ignore")


def delivery_key(client_id: str, event_id: str, channel: str) -> Item:
    """Return the primary key of an event's delivery over one channel."""
    return {"pk": partition(client_id), "sk": f"{EVENT_PREFIX}{event_id}#{channel}"}


def due_partition(shard: int) -> str:
    """Return the index's partition key of one shard of the deliveries that wait for their time."""
    return f"DUE#{shard}"


def due_at(at: datetime) -> str:
    """Return a time as it stands in the index: texts that sort as the times do."""
    return moment(at)


def delivery_item(delivery: Delivery) -> Item:
    """Return the record of a delivery; in the index only while there is something to be done."""
    item = delivery_key(delivery.client_id, delivery.id, delivery.channel) | {
        "status": delivery.status,
        "attempt": delivery.attempt,
        FORGOTTEN_AT: int((delivery.created_at + DELIVERY_LIFE).timestamp()),
        "document": delivery.model_dump_json(),
    }
    if delivery.status == "pending" and delivery.next_at is not None:
        shard = crc32(delivery.id.encode()) % DUE_SHARDS
        item |= {"gsi1pk": due_partition(shard), "gsi1sk": due_at(delivery.next_at)}
    return item


def delivery_of(item: Item) -> Delivery:
    """Return the delivery of a record."""
    return Delivery.model_validate_json(item["document"], extra="ignore")


def upload_key(client_id: str, upload_id: str) -> Item:
    """Return the primary key of an upload."""
    return {"pk": partition(client_id), "sk": f"UPLOAD#{upload_id}"}


def upload_item(upload: Upload) -> Item:
    """Return the record of an upload, which is forgotten when its time is over."""
    return (
        upload_key(upload.client_id, upload.id)
        | upload.model_dump(mode="json")
        | {FORGOTTEN_AT: int(upload.expires_at.timestamp())}
    )


def upload_of(item: Item) -> Upload:
    """Return the upload of a record."""
    return Upload.model_validate(item, extra="ignore")


def once_key(client_id: str, idempotency_key: str) -> Item:
    """Return the primary key of what an idempotency key did; its own text is not kept."""
    digest = hashlib.sha256(idempotency_key.encode()).hexdigest()
    return {"pk": partition(client_id), "sk": f"ONCE#{digest}"}


def once_item(
    client_id: str, idempotency: Idempotency, study_id: str, expires_at: datetime
) -> Item:
    """Return the record that an idempotency key made a study."""
    return once_key(client_id, idempotency.key) | {
        "fingerprint": idempotency.fingerprint,
        "study_id": study_id,
        FORGOTTEN_AT: int(expires_at.timestamp()),
    }


def job_key(study_id: str) -> Item:
    """Return the primary key of a study's job. Each of the 16 partitions is in order of time."""
    shard = hashlib.sha256(study_id.encode()).hexdigest()[0]
    return {"pk": job_partition(shard), "sk": study_id}


def job_partition(shard: str) -> str:
    """Return the partition key of the jobs of a shard, one of ``0123456789abcdef``."""
    return f"JOBS#{shard}"


def job_item(job: Job) -> Item:
    """Return the record of a job. What may be None is absent, for conditions to test."""
    item = job_key(job.study_id) | job.model_dump(mode="json", exclude_none=True)
    if job.leased_until is not None:
        item["leased_until"] = moment(job.leased_until)  # conditions compare it as text
    return item


def job_of(item: Item) -> Job:
    """Return the job of a record."""
    return Job.model_validate(item, extra="ignore")
