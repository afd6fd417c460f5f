"""Where the table, API Gateway and the stack differ, each with its repair.

The table is the truth. A repair takes away at API Gateway what the table does not have, gives it
what it lacks, and where that is impossible, as a secret is lost, closes the key in the table too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from admin_cli.tenants.key_views import works
from admin_cli.tenants.plan_coverage import uncovered
from admin_cli.tenants.reconciling import differences
from admin_cli.tenants.registry import ABANDONED_AFTER
from chalicelib.tenants.audit import Change
from chalicelib.tenants.audit_check import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from admin_cli.gateway import Gateway
    from admin_cli.tenants.accounts import Accounts
    from admin_cli.tenants.gateway_survey import GatewayKey, Survey
    from admin_cli.tenants.keyring import Keyring
    from admin_cli.tenants.registry import Registry
    from chalicelib.domain import ApiKey, Client, Plan
    from chalicelib.ports import Clock
    from chalicelib.tenants.audit import Trail


@dataclass(frozen=True, slots=True)
class Finding:
    """One drift. `act` repairs it; None when that is not for this command to do."""

    subject: str
    client_id: str | None
    drift: str
    repair: str
    act: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True)
class Checkup:
    """Compares the places of one stage. Every method may raise CliError or StorageUnavailable."""

    registry: Registry
    accounts: Accounts
    keyring: Keyring
    gateway: Gateway
    survey: Survey
    trail: Trail
    plans: Mapping[str, Plan]
    clock: Clock
    table_name: str
    api: tuple[str, str]

    def findings(self) -> list[Finding]:
        """Return all drift there is."""
        if not self.survey.has_stage(*self.api):
            drift = "the API that was deployed last is not in API Gateway"
            return [Finding("stack", None, drift, "run `deploy`")]
        gateway_keys = self.survey.keys()
        found = [*self._trail(), *self._plans()]
        known: dict[str, ApiKey] = {}
        members = {plan: self.survey.plan_keys(plan) for plan in self.gateway.usage_plans()}
        for client in self.registry.clients():
            keys = self.keyring.keys(client.id)
            known |= {key.id: key for key in keys}
            found += self._pointers(keys)  # of one that leaves too: its deletion goes by them
            if client.deleting_at is not None:
                repair = f"run `clients delete {client.id}` again"
                found.append(Finding(client.id, client.id, "its deletion did not end", repair))
                continue
            for key in keys:
                found += self._key(client, key, gateway_keys, members)
        return [*found, *self._orphans(gateway_keys, known)]

    def repair(self, finding: Finding) -> None:
        """Note a repair in the audit trail and make it."""
        if finding.act is None:
            return
        told = {"drift": finding.drift}, {"repair": finding.repair}
        change = Change("doctor.repair", finding.subject, finding.client_id, *told)
        self.trail.commit(lambda: change)
        finding.act()

    def _trail(self) -> Iterator[Finding]:
        broken = verify(self.table_name, self.trail.head, self.trail.records).broken
        if broken is not None:
            drift = f"entry {broken.number} {broken.reason}"
            yield Finding("audit trail", None, drift, "find out who changed it; nothing mends it")

    def _plans(self) -> Iterator[Finding]:
        for found in differences(self.registry, self.gateway, self.plans):
            name = found.client_id
            drift, repair = "; ".join(found.changes), "apply the plan, as `plans apply` does"
            yield Finding(name, name, drift, repair, partial(self.registry.mend_plan, name))
        clients = self.registry.clients()
        noted = {client.usage_plan_id: client.id for client in clients}
        leaving = {client.id for client in clients if client.deleting_at is not None}
        plans = self.gateway.usage_plans()
        for plan_id in uncovered(plans, self.api):
            holder = noted.get(plan_id)
            if holder is not None and holder not in leaving:  # of others, the plan is amiss itself
                drift = "a usage plan that does not cover the API, so its keys open nothing"
                act = partial(self.gateway.cover, plan_id)
                yield Finding(holder, holder, drift, "put it onto the API's stage", act)
        for plan_id, plan in plans.items():
            owner = self.gateway.owner_of(plan)
            # Asked again, consistently: the list of clients lags by a moment.
            client = None if plan_id in noted else self.accounts.client(owner)
            if plan_id in noted or (client and client.usage_plan_id in {None, plan_id}):
                continue
            # Where the noted one is gone, this one takes its place: `mend_plan` finds it by name.
            if client and client.usage_plan_id not in plans:
                continue
            drift = "a usage plan without client" if client is None else "a second usage plan"
            act = partial(self.gateway.delete_usage_plan, plan_id)
            yield Finding(plan["name"], owner, drift, "delete it in API Gateway", act)

    def _pointers(self, keys: tuple[ApiKey, ...]) -> Iterator[Finding]:
        """Yield keys that are not found by their hash or id; first, as later repairs look there."""
        lost = self.keyring.lost_pointers(keys)
        for key in keys:
            if key.id in lost:
                refused = "HASH" in lost[key.id]
                told = "hash, so it is refused" if refused else "id, so no command finds it"
                restore = partial(self.keyring.restore_pointers, key)
                drift = f"a key that is not found by its {told}"
                yield Finding(key.id, key.client_id, drift, "write its pointers anew", restore)

    def _key(
        self,
        client: Client,
        key: ApiKey,
        gateway_keys: Mapping[str, GatewayKey],
        members: Mapping[str, set[str]],
    ) -> Iterator[Finding]:
        """Yield what is amiss with one key that the table knows."""
        there = gateway_keys.get(key.gateway_key_id or "")
        if key.gateway_key_id is None and key.revoked_at is None:
            if key.created_at <= self.clock() - ABANDONED_AFTER:
                drift = "a key that was never finished, whose secret nobody has"
                act = partial(self.registry.discard_key, key)
                yield Finding(key.id, client.id, drift, "remove it", act)
        elif not works(key, self.clock()):
            if there is not None:
                drift = "a revoked or expired key that API Gateway still holds"
                delete = partial(self.gateway.delete_key, there.id)
                yield Finding(key.id, client.id, drift, "delete it in API Gateway", delete)
        elif there is None:
            drift = "a key that API Gateway does not hold, so it is refused"
            repair = "revoke it, as its secret is lost; issue another"
            revoke = partial(self.registry.revoke_key, key.id)
            yield Finding(key.id, client.id, drift, repair, revoke)
        else:
            yield from self._membership(client, key, there, members)

    def _membership(
        self,
        client: Client,
        key: ApiKey,
        there: GatewayKey,
        members: Mapping[str, set[str]],
    ) -> Iterator[Finding]:
        if not there.enabled:
            drift = "a key that was disabled in API Gateway by hand"
            repair = f"enable it there, or run `keys revoke {key.id}`"
            yield Finding(key.id, client.id, drift, repair)
        wrong = [p for p, ids in members.items() if there.id in ids and p != client.usage_plan_id]
        own = str(client.usage_plan_id)
        if not wrong and there.id in members.get(own, set()):
            return

        def move() -> None:
            for plan in wrong:
                self.survey.remove_from_plan(plan, there.id)
            self.gateway.add_to_plan(own, there.id)

        if own in members:  # else the client's plan is what has to be mended first
            drift = "a key in another client's usage plan" if wrong else "a key in no usage plan"
            yield Finding(key.id, client.id, drift, "put it into its client's usage plan", move)

    def _orphans(
        self, gateway_keys: Mapping[str, GatewayKey], known: Mapping[str, ApiKey]
    ) -> Iterator[Finding]:
        for one in gateway_keys.values():
            # Asked again, as it may be new; a key that lost its pointer is among the known alone.
            key = self.keyring.key(one.name) or known.get(one.name)
            if key is None or key.gateway_key_id not in {None, one.id}:
                owner = None if key is None else key.client_id
                drift = "a key in API Gateway that the table does not know"
                act = partial(self.gateway.delete_key, one.id)
                yield Finding(one.name, owner, drift, "delete it there", act)
