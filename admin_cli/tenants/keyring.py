"""Keys as the command line writes them: every change is one transaction with the audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from admin_cli.tenants.audited import AuditedTable, told_key
from admin_cli.tenants.key_reading import KeyReader
from admin_cli.tenants.key_views import works
from chalicelib.tenants import records
from chalicelib.tenants.audit import Change
from chalicelib.tenants.dynamo import batch_get, key_of
from chalicelib.tenants.transactions import THERE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from chalicelib.domain import ApiKey
    from chalicelib.tenants.audit import Trail
    from chalicelib.tenants.records import Item


Added = Literal["stored", "full", "no client"]
# What somebody else may have changed of a key since it was read, its last use without the trail.
_MOVES = ("revoked_at", "expires_at", "gateway_key_id", "replaced_by", "last_used_at")


class Keyring(KeyReader):
    """Reads and writes keys. Every method may raise StorageUnavailable.

    A key that works no more is filed apart, so that those that work can be read alone: in the
    transaction of its revocation, or with the next key after it has expired.
    """

    def __init__(self, table: Table, trail: Trail) -> None:
        super().__init__(table)
        self._audited = AuditedTable(table, trail)

    def add_key(self, key: ApiKey, most: int) -> Added:
        """Store a new key with its pointers, unless its client is not there, leaves or is `full`.

        It is once `most` of its keys work, those that are being made among them. They are counted
        within the change: no other key of any client can come between the count and the write.
        """
        outcome: Added = "stored"
        owner = records.client_key(key.client_id)

        def plan() -> Change | None:
            nonlocal outcome
            client = self._audited.read(owner)
            if client is None or "deleting_at" in client:
                outcome = "no client"
                return None
            working = sum(works(one, key.created_at) for one in self.working(key.client_id))
            outcome = "full" if working >= most else "stored"
            if outcome == "full":
                return None
            writes = [
                self._audited.check(owner, f"{THERE} AND attribute_not_exists(deleting_at)"),
                *(self._audited.put(item) for item in records.api_key_items(key)),
            ]
            return Change("key.issue", key.id, key.client_id, None, told_key(key), writes)

        self._audited.trail.commit(plan)
        return outcome

    def finish_key(self, key: ApiKey, gateway_key_id: str) -> ApiKey | None:
        """Note API Gateway's key; None when the key was revoked or discarded meanwhile."""

        def allowed(item: Item) -> bool:
            return "revoked_at" not in item

        where = records.api_key_key(key.client_id, key.id)
        values = {"gateway_key_id": gateway_key_id}
        item = self._audited.edit("key.finish", where, values, allowed)
        return records.api_key_of(item) if item else None

    def revoke_key(self, key: ApiKey, at: datetime) -> ApiKey:
        """Revoke a key; a second time changes nothing, the first time stands."""
        revoked: ApiKey | None = None

        def plan() -> Change | None:
            nonlocal revoked
            item = self._record(key.client_id, key.id)
            revoked = None if item is None else records.api_key_of(item)
            if item is None or "revoked_at" in item:
                return None
            after = {"revoked_at": at.isoformat()}
            revoked = records.api_key_of(item | after)
            told = {"revoked_at": None}, dict(after)
            return Change("key.revoke", key.id, key.client_id, *told, self._file(item, after))

        self._audited.trail.commit(plan)
        return revoked or key

    def file_ended(self, key: ApiKey) -> None:
        """File a key with those that ended; one that is there, gone or unfinished is left alone."""

        def plan() -> Change | None:
            item = self._audited.read(records.api_key_key(key.client_id, key.id))
            if item is None or "gateway_key_id" not in item:
                return None
            told = {"ended": False}, {"ended": True}
            return Change("key.end", key.id, key.client_id, *told, self._file(item, {}))

        self._audited.trail.commit(plan)

    def replace_key(
        self, old: ApiKey, new: ApiKey, gateway_key_id: str, until: datetime
    ) -> ApiKey | None:
        """Finish `new` and let `old` work until `until` at most, both or neither.

        Returns `new`; None, and nothing is changed, when either was revoked, `old` was replaced
        by another or either is gone.
        """
        where = [records.api_key_key(key.client_id, key.id) for key in (old, new)]
        finished: ApiKey | None = None

        def plan() -> Change | None:
            nonlocal finished
            items = batch_get(self._table, where)
            finished = None
            if len(items) != len(where) or any("revoked_at" in item for item in items):
                return None
            if "replaced_by" in items[0]:
                return None
            ends = min(until, records.api_key_of(items[0]).expires_at or until).isoformat()
            before = {"expires_at": items[0].get("expires_at"), "replaced_by": None}
            after = {"expires_at": ends, "replaced_by": new.id}
            ready = {"gateway_key_id": gateway_key_id}
            finished = records.api_key_of(items[1] | ready)
            writes = [
                self._audited.update(where[0], before, after),
                self._audited.update(where[1], {"gateway_key_id": None}, ready),
            ]
            return Change("key.rotate", old.id, old.client_id, dict(before), dict(after), writes)

        self._audited.trail.commit(plan)
        return finished

    def discard_key(self, key: ApiKey) -> None:
        """Remove a revoked key and its pointers; one that is gone already is no error."""

        def plan() -> Change | None:
            record = self._record(key.client_id, key.id)
            if record is None:
                return None
            items = [record, *records.api_key_items(key)[1:]]
            writes = [self._audited.delete(item) for item in items]
            return Change("key.discard", key.id, key.client_id, told_key(key), None, writes)

        self._audited.trail.commit(plan)

    def lost_pointers(self, keys: Sequence[ApiKey]) -> dict[str, set[str]]:
        """Return by key id which pointers to these keys are gone or lead elsewhere.

        Named by their sort key: HASH, without which the function refuses the key, and KEY, without
        which no command finds it.
        """
        wanted = {key.id: records.api_key_items(key)[1:] for key in keys}
        places = [key_of(one) for pointers in wanted.values() for one in pointers]
        there = batch_get(self._table, places)
        lost = {
            key_id: {str(one["sk"]) for one in pointers if one not in there}
            for key_id, pointers in wanted.items()
        }
        return {key_id: names for key_id, names in lost.items() if names}

    def restore_pointers(self, key: ApiKey) -> None:
        """Write the pointers to a key anew; of a key that is gone, nothing."""
        pointers = records.api_key_items(key)[1:]

        def plan() -> Change | None:
            lost = self.lost_pointers([key]).get(key.id)
            record = self._record(key.client_id, key.id)
            if lost is None or record is None:
                return None
            writes = [
                self._audited.check(key_of(record), THERE),
                *(self._audited.replace(one) for one in pointers),
            ]
            told = {"pointers": sorted(str(one["sk"]) for one in pointers)}
            before = {"pointers": sorted(set(told["pointers"]) - lost)}
            return Change("key.restore", key.id, key.client_id, before, told, writes)

        self._audited.trail.commit(plan)

    def _file(self, item: Item, after: Item) -> list[TransactWriteItemTypeDef]:
        """Return the writes that change a key's record and have it among those that ended.

        One that was never finished stays where the next run looks for what is to be removed.
        """
        place = records.ended_key_key(str(item["client_id"]), str(item["id"]))
        if item["sk"] == place["sk"] or "gateway_key_id" not in item:
            before = {name: item.get(name) for name in after}
            return [self._audited.update(key_of(item), before, after)]
        return [self._audited.take(item, _MOVES), self._audited.put(item | after | place)]
