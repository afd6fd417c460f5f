"""Clients as the command line writes them: every change is one transaction with the audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import AwareDatetime

from admin_cli.console import CliError
from admin_cli.tenants.audited import AuditedTable, told_client
from chalicelib.domain import Plan, Value
from chalicelib.tenants import records
from chalicelib.tenants.audit import Change
from chalicelib.tenants.dynamo import Slice, batch_get, query
from chalicelib.tenants.transactions import NEW

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from admin_cli.tenants.audited import Attribute
    from chalicelib.domain import Client
    from chalicelib.tenants.audit import Trail
    from chalicelib.tenants.records import Item


_KEPT = {"id", "name", "plan", "created_at"}


class FormerClient(Value):
    """What is kept of a deleted client, for its last invoices."""

    id: str
    name: str
    plan: Plan
    created_at: AwareDatetime
    deleted_at: AwareDatetime


class Accounts:
    """Reads and writes clients. Every method may raise StorageUnavailable."""

    def __init__(self, table: Table, trail: Trail) -> None:
        self._table = table
        self._audited = AuditedTable(table, trail)

    def add_client(self, client: Client) -> bool:
        """Store a new client; False, and nothing is changed, when the id is or was taken."""
        added = False

        def plan() -> Change | None:
            nonlocal added
            key, former = records.client_key(client.id), records.former_key(client.id)
            added = not batch_get(self._table, [key, former])
            writes = [
                self._audited.put(records.client_item(client)),
                # The ledger of a deleted client stays, so its id is never given again.
                self._audited.check(former, NEW),
                self._audited.put(records.terms_item(client, client.created_at)),
            ]
            told = told_client(client)
            return (
                Change("client.create", client.id, client.id, None, told, writes) if added else None
            )

        self._audited.trail.commit(plan)
        return added

    def client(self, client_id: str) -> Client | None:
        """Return a client as it is now, or None."""
        item = self._audited.read(records.client_key(client_id))
        return records.client_of(item) if item else None

    def clients(self) -> tuple[Client, ...]:
        """Return all clients by id. One that was just made may be missing for a moment."""
        index = query(self._table, Slice(records.ALL_CLIENTS, index=records.INDEX))
        wanted = [records.client_key(str(item["gsi1sk"])) for item in index]
        return tuple(records.client_of(item) for item in batch_get(self._table, wanted))

    def set_status(self, client_id: str, status: Literal["active", "suspended"]) -> Client | None:
        """Suspend or resume a client; None when there is none, or it is being deleted."""
        return self._edit(
            "client.suspend" if status == "suspended" else "client.resume",
            client_id,
            {"status": status},
            refuse="deleting_at",
        )

    def set_details(self, client_id: str, details: Mapping[str, Attribute]) -> Client | None:
        """Set `name`, `email`, `gate_policy`, `retention_days` or `mail`.

        None when there is no such client, or it is being deleted.
        """
        return self._edit("client.update", client_id, details, refuse="deleting_at")

    def set_plan(self, client_id: str, plan: Plan, at: datetime) -> Client | None:
        """Give a client a plan's terms from `at` on; None as for `set_details`."""

        def terms(item: Item) -> list[TransactWriteItemTypeDef]:
            # Replaced when two changes bear the same time: the later one holds.
            return [self._audited.replace(records.terms_item(records.client_of(item), at))]

        key, values = records.client_key(client_id), {"plan": plan.model_dump_json()}
        item = self._audited.edit(
            "client.plan", key, values, lambda item: "deleting_at" not in item, terms
        )
        return records.client_of(item) if item else None

    def set_usage_plan(
        self, client_id: str, usage_plan_id: str, instead_of: str | None = None
    ) -> Client | None:
        """Note API Gateway's usage plan; None when another than `instead_of` is noted already."""

        def allowed(item: Item) -> bool:
            return item.get("usage_plan_id") == instead_of

        key, values = records.client_key(client_id), {"usage_plan_id": usage_plan_id}
        item = self._audited.edit("client.usage_plan", key, values, allowed)
        return records.client_of(item) if item else None

    def note_gate(
        self, client_id: str, before: dict[str, str | None], after: dict[str, str | None]
    ) -> None:
        """Note which limits of a client's usage plan are about to be set in API Gateway.

        First, as both cannot change in one step: it may say too much, never too little.
        """
        change = Change("client.gate", client_id, client_id, before, after)
        self._audited.trail.commit(lambda: change)

    def begin_deletion(self, client_id: str, at: datetime) -> Client | None:
        """Suspend a client for good; a second time changes nothing. None when there is none."""
        known = self.client(client_id)
        if known is not None and known.deleting_at is not None:
            return known
        values = {"status": "suspended", "deleting_at": at.isoformat()}
        return self._edit("client.leave", client_id, values, refuse="deleting_at")

    def bury(self, client: Client, at: datetime, erased: dict[str, int]) -> FormerClient:
        """Remove a client's record and keep what its ledger needs. `erased`: for the trail."""
        former = FormerClient(deleted_at=at, **client.model_dump(include=_KEPT))

        def plan() -> Change | None:
            if self.client(client.id) is None:
                return None
            writes = [
                self._audited.delete(records.client_key(client.id)),
                self._audited.put(_former_item(former)),
            ]
            told = told_client(client)
            return Change("client.delete", client.id, client.id, told, {"erased": erased}, writes)

        self._audited.trail.commit(plan)
        return former

    def former(self, client_id: str) -> FormerClient | None:
        """Return a deleted client, or None."""
        item = self._audited.read(records.former_key(client_id))
        return _former_of(item) if item else None

    def formers(self) -> tuple[FormerClient, ...]:
        """Return all deleted clients by id."""
        index = query(self._table, Slice(records.FORMER_CLIENTS, index=records.INDEX))
        wanted = [records.former_key(str(item["gsi1sk"])) for item in index]
        return tuple(_former_of(item) for item in batch_get(self._table, wanted))

    def _edit(
        self, action: str, client_id: str, values: Mapping[str, Attribute], refuse: str
    ) -> Client | None:
        key = records.client_key(client_id)
        item = self._audited.edit(action, key, values, lambda item: refuse not in item)
        return records.client_of(item) if item else None


def _former_item(former: FormerClient) -> Item:
    return records.former_key(former.id) | {
        "gsi1pk": records.FORMER_CLIENTS,
        "gsi1sk": former.id,
        "document": former.model_dump_json(),
    }


def _former_of(item: Item) -> FormerClient:
    return FormerClient.model_validate_json(item["document"], extra="ignore")


def known_client(accounts: Accounts, client_id: str) -> Client | FormerClient:
    """Return a client, also one that was deleted. Raises CliError when it never was."""
    known = accounts.client(client_id) or accounts.former(client_id)
    if known is None:
        raise CliError(f"there is no client {client_id}")
    return known
