"""Deleting a client: every step safe to repeat, so that the next run finishes what one began.

1. The client is suspended for good: no study can begin, no key can be made.
2. Its keys are revoked in the table, which the function obeys.
3. A wait, until no function can still trust what it has cached and no request is under way.
4. Its objects, then its studies and all else in its partition but the ledger.
5. Each key at API Gateway and then its record, by which the next run knows what is left to do.
6. Its usage plan.
7. Its own record, in one write with what is kept of it.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from admin_cli.console import CliError
from admin_cli.stage import open_stage
from admin_cli.tenants.registry import registry_of
from admin_cli.words import counted
from chalicelib import aws
from chalicelib.services.identity import CACHE_SECONDS
from chalicelib.tenants import records
from chalicelib.tenants.dynamo import Slice, key_of, query, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

    from admin_cli.console import Console
    from admin_cli.gateway import Gateway
    from admin_cli.tenants.accounts import Accounts, FormerClient
    from admin_cli.tenants.registry import Registry
    from chalicelib.domain import Client
    from chalicelib.ports import Clock
    from chalicelib.tenants.records import Item

# The cache of a function, the longest that a function may run, and some air.
QUIET_AFTER = timedelta(seconds=CACHE_SECONDS + 60 + 10)
_SHORTENED = "RADGATE_QUIET_SECONDS"
_STAYS = (
    records.USAGE_PREFIX,
    records.TERMS_PREFIX,
    records.KEY_PREFIX,
    records.ENDED_KEY_PREFIX,
)
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Removal:
    """Deletes clients of one stage. Every method may raise CliError or StorageUnavailable.

    `wait` waits for as many seconds as it is told. `quiet_after`: how long after its suspension a
    client can have no request under way.
    """

    _registry: Registry
    _accounts: Accounts
    _gateway: Gateway
    _store: ClientStore
    _clock: Clock
    _wait: Callable[[float], None]
    _quiet_after: timedelta = QUIET_AFTER

    def former(self, client_id: str) -> FormerClient | None:
        """Return a client that was deleted already, or None."""
        return self._accounts.former(client_id)

    def count(self, client_id: str) -> dict[str, int]:
        """Return how much a deletion would erase. Raises CliError when there is no such client."""
        keys = self._registry.keys(client_id)
        studies = sum(1 for item in self._store.items(client_id) if _is_study(item))
        objects = sum(1 for _ in self._store.objects(client_id))
        return {"keys": len(keys), "studies": studies, "objects": objects}

    def remove(self, client_id: str) -> FormerClient:
        """Delete a client, or finish what an earlier run began. Twice is no error."""
        client = self._accounts.begin_deletion(client_id, self._clock())
        if client is None:
            former = self._accounts.former(client_id)
            if former is None:
                raise CliError(f"there is no client {client_id}")
            return former
        self._registry.revoke_working(client_id)
        keys = self._registry.keys(client_id)
        if keys:  # a client that never had one never made a request
            self._wait_until_quiet(client)
        erased = {
            "objects": self._store.erase_objects(client_id),
            "studies": self._store.erase_items(client_id),
        }
        for key in keys:
            # Not before the wait: a run that was making it may have died with it half made.
            self._registry.discard_key(key)
        plan = client.usage_plan_id or self._gateway.find_usage_plan(client_id)
        if plan is not None:
            self._gateway.delete_usage_plan(plan)
        return self._accounts.bury(client, self._clock(), erased)

    def _wait_until_quiet(self, client: Client) -> None:
        begun = client.deleting_at or self._clock()
        left = (begun + self._quiet_after - self._clock()).total_seconds()
        if left > 0:
            self._wait(left)


class ClientStore:
    """What a client has in the table and in the bucket, besides its keys and its ledger."""

    def __init__(self, table: Table, s3: S3Client, bucket: str) -> None:
        self._table = table
        self._s3 = s3
        self._bucket = bucket

    def items(self, client_id: str) -> Iterator[Item]:
        """Yield the primary keys of the records that go: studies and what belongs to them."""
        after = None
        while True:
            found = query(self._table, Slice(records.partition(client_id), after=after), _PAGE)
            for item in found:
                kept = item["sk"] in {"CLIENT", "FORMER"} or item["sk"].startswith(_STAYS)
                if not kept:
                    yield key_of(item)
            if len(found) < _PAGE:
                return
            after = {"pk": found[-1]["pk"], "sk": found[-1]["sk"]}

    def erase_items(self, client_id: str) -> int:
        """Delete them; return how many studies were among them."""
        count = 0
        with translated(), self._table.batch_writer() as batch:
            for key in self.items(client_id):
                batch.delete_item(Key=key)
                count += _is_study(key)
        return count

    def objects(self, client_id: str) -> Iterator[str]:
        """Yield the names of the client's objects."""
        for prefix in (f"clients/{client_id}/", f"uploads/{client_id}/"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix
            )
            for page in pages:
                yield from (str(found.get("Key")) for found in page.get("Contents", []))

    def erase_objects(self, client_id: str) -> int:
        """Delete them; return how many there were. Raises CliError when S3 keeps some."""
        count = 0
        names = list(self.objects(client_id))
        for first in range(0, len(names), 1000):  # the most that S3 takes at once
            batch: list[ObjectIdentifierTypeDef] = [
                {"Key": name} for name in names[first : first + 1000]
            ]
            answer = self._s3.delete_objects(
                Bucket=self._bucket, Delete={"Objects": batch, "Quiet": True}
            )
            if failed := answer.get("Errors"):
                raise CliError(
                    f"S3 kept {counted(len(failed), 'object')} ({failed[0].get('Code')}):"
                    " run this again"
                )
            count += len(batch)
        return count


def _is_study(key: Item) -> bool:
    return str(key["sk"]).startswith(records.STUDY_PREFIX)


def quiet_after(stage: str) -> timedelta:
    """Return how long after its suspension a client of this stage can have no request under way.

    ``RADGATE_QUIET_SECONDS`` shortens it on stage `local`, for who knows that nobody sends any. A
    request that is under way all the same would leave a study that nobody can reach any more, so
    elsewhere that is refused, with CliError, as is what is no whole number up to the real time.
    """
    told = os.environ.get(_SHORTENED)
    if not told:
        return QUIET_AFTER
    if stage != "local":
        raise CliError(f"{_SHORTENED} is for stage local alone")
    most = int(QUIET_AFTER.total_seconds())
    if not (told.isascii() and told.isdecimal() and int(told) <= most):
        raise CliError(f"{_SHORTENED} must be a whole number of seconds, at most {most}")
    return timedelta(seconds=int(told))


def open_removal(console: Console) -> Removal:
    """Return what deletes clients of the console's stage, with a bar while it waits."""
    quiet = quiet_after(console.stage)
    stage = open_stage(console.stage)
    store = ClientStore(stage.table, aws.s3(), stage.foundation.BucketName)

    def wait(seconds: float) -> None:
        console.info(f"Waiting {seconds:.0f} s, until no request can still be under way.")
        end = time.monotonic() + seconds
        with console.progress("Waiting", seconds) as move:
            while (left := end - time.monotonic()) > 0:
                step = min(1.0, left)
                time.sleep(step)
                move(step)

    registry, accounts = registry_of(stage), stage.accounts
    return Removal(registry, accounts, stage.gateway, store, stage.clock, wait, quiet)
