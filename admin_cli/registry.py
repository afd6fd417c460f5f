"""The one place that changes clients and keys, in the table and in API Gateway together.

Every operation is a row of steps, each safe to repeat, in an order in which a crash between any
two leaves nothing that is open and nothing that running the command again does not repair (see
docs/adr/0004-keys-and-quota.md). The table always comes first: the function obeys it alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from admin_cli.catalogue import amiss, load_plans
from admin_cli.console import CliError
from admin_cli.stage import open_stage
from chalicelib.domain import ApiKey, Client, Scope, new_id
from chalicelib.tenants import keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from admin_cli.accounts import Accounts
    from admin_cli.gateway import Gateway
    from admin_cli.keyring import Keyring
    from chalicelib.domain import Mode, Plan
    from chalicelib.ports import Clock

# A key that is still without its gateway key after this long was left behind by a crash; a
# younger one may be another operator's, being made at this moment.
ABANDONED_AFTER = timedelta(minutes=2)
_KEY_ID = re.compile(r"key_[0-9A-Z]{26}")


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key and, this once, its secret."""

    secret: str = field(repr=False)
    key: ApiKey


class Registry:
    """Clients and keys of one stage. Every method may raise CliError or StorageUnavailable."""

    def __init__(
        self,
        accounts: Accounts,
        keyring: Keyring,
        gateway: Gateway,
        plans: Mapping[str, Plan],
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._keyring = keyring
        self._gateway = gateway
        self._plans = plans
        self._clock = clock

    def create_client(self, id: str, name: str, email: str, plan: str) -> Client:  # noqa: A002
        """Create a client with its usage plan, or finish what an earlier run began.

        A client that is there already with the same name, e-mail and plan is returned as it is.
        Raises CliError when the id is taken by another or the plan is not in the catalogue.
        """
        if plan not in self._plans:
            raise CliError(f"there is no plan {plan}: choose one of {', '.join(self._plans)}")
        try:
            client = Client(
                id=id, name=name, email=email, plan=self._plans[plan], created_at=self._clock()
            )
        except ValidationError as error:
            raise CliError(amiss(error)) from error
        if not self._accounts.add_client(client):
            known = self.client(id)
            if (known.name, known.email, known.plan.name) != (name, email, plan):
                raise CliError(f"client {id} exists already, with another name, e-mail or plan")
            client = known
        return self._with_usage_plan(client)

    def client(self, client_id: str) -> Client:
        """Return a client. Raises CliError when there is none of this id."""
        client = self._accounts.client(client_id)
        if client is None:
            raise CliError(f"there is no client {client_id}")
        return client

    def clients(self) -> tuple[Client, ...]:
        """Return all clients by id."""
        return self._accounts.clients()

    def suspend(self, client_id: str) -> Client:
        """Pause a client: the function refuses its keys. Twice is no error."""
        return self._with_status(client_id, "suspended")

    def resume(self, client_id: str) -> Client:
        """Let a suspended client in again. Twice is no error."""
        return self._with_status(client_id, "active")

    def keys(self, client_id: str) -> tuple[ApiKey, ...]:
        """Return a client's keys, oldest first. Raises CliError when there is no such client."""
        return self._keyring.keys(self.client(client_id).id)

    def issue_key(
        self,
        client_id: str,
        label: str = "",
        expires_in: timedelta | None = None,
        scopes: Iterable[Scope] = frozenset(Scope),
        mode: Mode = "live",
    ) -> IssuedKey:
        """Make a key; its secret is returned here and can never be had again.

        First removes what earlier runs left half made. Raises CliError when there is no such
        client, or the key was revoked while it was being made.
        """
        client = self._with_usage_plan(self.client(client_id))
        self._discard_abandoned(client_id)
        secret, now = keys.mint(mode), self._clock()
        try:
            key = ApiKey(
                id=new_id("key"),
                client_id=client_id,
                sha256=keys.sha256(secret),
                hint=keys.hint(secret),
                label=label,
                mode=mode,
                scopes=frozenset(scopes),
                created_at=now,
                expires_at=None if expires_in is None else now + expires_in,
            )
        except ValidationError as error:
            raise CliError(amiss(error)) from error
        if not self._keyring.add_key(key):
            raise CliError(f"there is no client {client_id}")
        gateway_key_id = self._gateway.create_key(key.id, secret)
        self._gateway.add_to_plan(str(client.usage_plan_id), gateway_key_id)
        finished = self._keyring.finish_key(key, gateway_key_id)
        if finished is None:
            self._gateway.delete_key(gateway_key_id)
            raise CliError(f"key {key.id} was revoked while it was being made: issue another")
        return IssuedKey(secret, finished)

    def revoke_key(self, key_id: str) -> ApiKey:
        """Take a key back for good. Twice is no error, and finishes a first time that crashed."""
        if not _KEY_ID.fullmatch(key_id):
            # It is not repeated: someone may have pasted the secret itself.
            raise CliError("that is not the id of a key: see `keys list`")
        key = self._keyring.key(key_id)
        if key is None:
            raise CliError(f"there is no key {key_id}")
        return self._close(key)

    def _with_usage_plan(self, client: Client) -> Client:
        """Return the client with its usage plan, found by name or made."""
        if client.usage_plan_id is not None:
            return client
        made = self._gateway.find_usage_plan(client.id)
        if made is None:
            made = self._gateway.create_usage_plan(client.id, client.plan)
        noted = self._accounts.set_usage_plan(client.id, made)
        if noted is None:  # another run was quicker
            noted = self._accounts.client(client.id)
            if noted is None or noted.usage_plan_id != made:
                self._gateway.delete_usage_plan(made)
            if noted is None:
                raise CliError(f"client {client.id} was deleted meanwhile")
        return noted

    def _with_status(self, client_id: str, status: Literal["active", "suspended"]) -> Client:
        client = self._accounts.set_status(client_id, status)
        if client is None:
            raise CliError(f"there is no client {client_id}")
        return client

    def _close(self, key: ApiKey) -> ApiKey:
        """Revoke in the table, which the function obeys, then delete at the gateway."""
        closed = self._keyring.revoke_key(key, self._clock())
        gateway_key_id = closed.gateway_key_id or self._gateway.find_key(key.id)
        if gateway_key_id is not None:
            self._gateway.delete_key(gateway_key_id)
        return closed

    def _discard_abandoned(self, client_id: str) -> None:
        """Remove keys that a crash left half made: nobody ever saw their secrets."""
        for key in self._keyring.keys(client_id):
            if key.gateway_key_id is None and key.created_at <= self._clock() - ABANDONED_AFTER:
                # Revoked first, so that a run that is only slow cannot finish it meanwhile.
                self._keyring.discard_key(self._close(key))


def open_registry(stage: str) -> Registry:
    """Return the registry of a deployed stage.

    Raises CliError when the stage is not deployed or, for `local`, does not run.
    """
    opened = open_stage(stage)
    return Registry(opened.accounts, opened.keyring, opened.gateway, load_plans(), opened.clock)
