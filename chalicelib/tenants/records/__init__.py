"""How domain values lie in the table, and back.

| what    | pk             | sk              | index gsi1                                    |
| ------- | -------------- | --------------- | --------------------------------------------- |
| client  | CLIENT#<id>    | CLIENT          | gsi1pk CLIENTS, gsi1sk <id>                   |
| key     | CLIENT#<id>    | KEY#<key id>    |                                               |
| ended   | CLIENT#<id>    | ENDEDKEY#<key id> | a key once it works no more                 |
| pointer | HASH#<sha256>  | HASH            | immutable: whose key has this hash            |
| pointer | KEY#<key id>   | KEY             | immutable: whose key has this id              |
| study   | CLIENT#<id>    | STUDY#<id>      | gsi1pk CLIENT#<id>#<status>, gsi1sk <id>      |
| usage   | CLIENT#<id>    | USAGE#<date>    | `used` of the period that begins on that date |
| shard   | CLIENT#<id>    | USAGE#<date>#<n> | a part of the usage (`counter.py`)           |
| terms   | CLIENT#<id>    | TERMS#<time>    | the plan that held from that time on          |
| upload  | CLIENT#<id>    | UPLOAD#<id>     | gsi1pk SPENT#<shard>, gsi1sk its time, once spent |
| once    | CLIENT#<id>    | ONCE#<sha256>   | an idempotency key's study, nothing once erased |
| job     | JOBS#<shard>   | <study id>      | what a worker needs of a queued study         |
| webhook | CLIENT#<id>    | WEBHOOK         | the secrets that sign a client's events       |
| health  | CLIENT#<id>    | WEBHOOKHEALTH   | how its webhook has fared, and whether it is off |
| event   | CLIENT#<id>    | EVENT#<id>#<ch> | gsi1pk DUE#<shard>, gsi1sk next try, while due |
| former  | CLIENT#<id>    | FORMER          | gsi1pk FORMER, gsi1sk <id>: a deleted client  |

Uploads and what idempotency keys did are forgotten at their `expires_at_epoch`. The audit trail has
a partition of its own (`audit.py`).

The index needs no attributes but its keys: readers take the ids and fetch the items
themselves, consistently. What a record holds beyond the fields of its domain value is ignored,
so that a release can be rolled back after a newer one has written.
"""

from chalicelib.tenants.records.clients import (
    ALL_CLIENTS,
    ENDED_KEY_PREFIX,
    FORMER_CLIENTS,
    KEY_PREFIX,
    TERMS_PREFIX,
    USAGE_PREFIX,
    api_key_items,
    api_key_key,
    api_key_of,
    client_item,
    client_key,
    client_of,
    ended_key_key,
    former_key,
    hash_pointer_key,
    id_pointer_key,
    terms_item,
    usage_key,
)
from chalicelib.tenants.records.deliveries import (
    DELIVERY_LIFE,
    DUE_SHARDS,
    EVENT_PREFIX,
    delivery_item,
    delivery_key,
    delivery_of,
    due_at,
    due_partition,
)
from chalicelib.tenants.records.jobs import (
    JOB_SHARDS,
    SPENT_SHARDS,
    is_spent,
    job_item,
    job_key,
    job_of,
    job_partition,
    once_item,
    once_key,
    once_name,
    spending,
    spent_of,
    spent_partition,
    upload_item,
    upload_key,
    upload_of,
)
from chalicelib.tenants.records.place import (
    FORGOTTEN_AT,
    INDEX,
    Item,
    moment,
    partition,
)
from chalicelib.tenants.records.studies import (
    STUDY_PREFIX,
    attempts_of,
    once_of,
    source_of,
    status_partition,
    study_item,
    study_key,
    study_of,
)

__all__ = [
    "ALL_CLIENTS",
    "DELIVERY_LIFE",
    "DUE_SHARDS",
    "ENDED_KEY_PREFIX",
    "EVENT_PREFIX",
    "FORGOTTEN_AT",
    "FORMER_CLIENTS",
    "INDEX",
    "JOB_SHARDS",
    "KEY_PREFIX",
    "SPENT_SHARDS",
    "STUDY_PREFIX",
    "TERMS_PREFIX",
    "USAGE_PREFIX",
    "Item",
    "api_key_items",
    "api_key_key",
    "api_key_of",
    "attempts_of",
    "client_item",
    "client_key",
    "client_of",
    "delivery_item",
    "delivery_key",
    "delivery_of",
    "due_at",
    "due_partition",
    "ended_key_key",
    "former_key",
    "hash_pointer_key",
    "id_pointer_key",
    "is_spent",
    "job_item",
    "job_key",
    "job_of",
    "job_partition",
    "moment",
    "once_item",
    "once_key",
    "once_name",
    "once_of",
    "partition",
    "source_of",
    "spending",
    "spent_of",
    "spent_partition",
    "status_partition",
    "study_item",
    "study_key",
    "study_of",
    "terms_item",
    "upload_item",
    "upload_key",
    "upload_of",
    "usage_key",
]
