"""The one place that changes clients and keys, in the table and in API Gateway together.

Every operation is a row of steps, each safe to repeat, in an order in which a crash between any
two leaves nothing that is open and nothing that running the command again does not repair (see
docs/adr/0004-keys-and-quota.md). The table always comes first: the function obeys it alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError

from admin_cli.console import CliError
from admin_cli.stage import open_stage
from admin_cli.tenants.catalogue import amiss, load_plans
from admin_cli.tenants.client_registry import ClientRegistry
from admin_cli.tenants.key_views import works
from chalicelib.domain import ApiKey, Client, Scope, is_expired, new_id
from chalicelib.tenants import keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from admin_cli.gateway import Gateway
    from admin_cli.stage import Stage
    from admin_cli.tenants.accounts import Accounts
    from admin_cli.tenants.keyring import Keyring
    from chalicelib.domain import Mode, Plan
    from chalicelib.ports import Clock

# A key that is still without its gateway key after this long was left behind by a crash; a
# younger one may be another operator's, being made at this moment.
ABANDONED_AFTER = timedelta(minutes=2)
# So a client's own list of its keys stays short. To rotate there is room for as many again: keys
# that are replaced go on working for a while.
MOST_KEYS = 100
_KEY_ID = re.compile(r"key_[0-9A-Z]{26}")


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key and, this once, its secret."""

    secret: str = field(repr=False)
    key: ApiKey


class Registry(ClientRegistry):
    """Clients and keys of one stage. Every method may raise CliError or StorageUnavailable."""

    def __init__(
        self,
        accounts: Accounts,
        keyring: Keyring,
        gateway: Gateway,
        plans: Mapping[str, Plan],
        clock: Clock,
    ) -> None:
        super().__init__(accounts, gateway, plans, clock)
        self._keyring = keyring

    def keys(self, client_id: str) -> tuple[ApiKey, ...]:
        """Return all keys that a client ever had, oldest first.

        Raises CliError when there is no such client.
        """
        return self._keyring.keys(self.client(client_id).id)

    def latest_keys(self, client_id: str) -> tuple[ApiKey, ...]:
        """Return the keys that work, and the last 20 of those that ended; oldest first.

        As many reads for a client that had thousands. Raises CliError when there is no such client.
        """
        return self._keyring.latest(self.client(client_id).id)

    def key(self, key_id: str) -> ApiKey:
        """Return a key. Raises CliError when there is none of this id."""
        if not _KEY_ID.fullmatch(key_id):
            # It is not repeated: someone may have pasted the secret itself.
            raise CliError("that is not the id of a key: see `keys list`")
        key = self._keyring.key(key_id)
        if key is None:
            raise CliError(f"there is no key {key_id}")
        return key

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
        client, it has 100 keys that work, or the key was revoked while it was being made.
        """
        client = self._ready_for_keys(client_id)
        now = self._clock()
        secret, key = self._mint(
            MOST_KEYS,
            client_id=client_id,
            label=label,
            mode=mode,
            scopes=frozenset(scopes),
            created_at=now,
            expires_at=None if expires_in is None else now + expires_in,
        )
        gateway_key_id = self._let_in(client, key, secret)
        finished = self._keyring.finish_key(key, gateway_key_id)
        if finished is None:
            self._gateway.delete_key(gateway_key_id)
            raise CliError(f"key {key.id} was revoked while it was being made: issue another")
        return IssuedKey(secret, finished)

    def rotate_key(self, key_id: str, overlap: timedelta) -> IssuedKey:
        """Make a key like this one, which itself works until `overlap` has passed, at most.

        Label, scopes, mode and length of life are the same. Until the new key is whole, the old
        one is not touched; then both change in one transaction. Raises CliError when the old key
        is replaced already or does not work, now or by the time the new one is made.
        """
        old = self.key(key_id)
        self._refuse_rotation(old)
        client = self._ready_for_keys(old.client_id)
        life = None if old.expires_at is None else old.expires_at - old.created_at
        now = self._clock()
        secret, new = self._mint(
            2 * MOST_KEYS,
            client_id=client.id,
            label=old.label,
            mode=old.mode,
            scopes=old.scopes,
            created_at=now,
            expires_at=None if life is None else now + life,
            replaces=old.id,
        )
        gateway_key_id = self._let_in(client, new, secret)
        until = self._clock() + overlap
        finished = self._keyring.replace_key(old, new, gateway_key_id, until)
        if finished is None:
            self._gateway.delete_key(gateway_key_id)
            self._keyring.discard_key(self._keyring.revoke_key(new, self._clock()))
            raise CliError(f"key {old.id} was revoked or replaced meanwhile: nothing was changed")
        return IssuedKey(secret, finished)

    def revoke_key(self, key_id: str) -> ApiKey:
        """Take a key back for good. Twice is no error, and finishes a first time that crashed."""
        return self._close(self.key(key_id))

    def secret_of(self, key_id: str) -> str | None:
        """Return a key's secret as API Gateway still holds it, to probe with and then forget."""
        key = self.key(key_id)
        gateway_key_id = key.gateway_key_id or self._gateway.find_key(key.id)
        return None if gateway_key_id is None else self._gateway.value_of(gateway_key_id)

    def revoke_working(self, client_id: str) -> None:
        """Revoke all keys of a client in the table alone, which is what the function obeys."""
        for key in self._keyring.working(client_id):
            self._keyring.revoke_key(key, self._clock())

    def discard_key(self, key: ApiKey) -> None:
        """Close a key in both places and remove its record; one that is gone is no error."""
        self._keyring.discard_key(self._close(key))

    def mend_plan(self, client_id: str) -> Client:
        """Give a client its plan's terms of the catalogue, and a usage plan that has them.

        A plan that left the catalogue stays as it was sold. A usage plan that was deleted in API
        Gateway is made anew, with all keys that still work.
        """
        client = self.client(client_id)
        terms = self._plans.get(client.plan.name)
        if terms is not None:
            client = self._present(
                self._accounts.set_plan(client_id, terms, self._clock()), client_id
            )
        noted = client.usage_plan_id
        if noted is not None and noted not in self._gateway.usage_plans():
            client = self._replace_usage_plan(client, noted)
        client = self._with_usage_plan(client)
        self._set_gate(client)
        return client

    def _replace_usage_plan(self, client: Client, gone: str) -> Client:
        made = self._gateway.find_usage_plan(client.id)
        if made is None:
            made = self._gateway.create_usage_plan(client.id, client.plan)
        for key in self._keyring.working(client.id):
            dead = key.revoked_at is not None or is_expired(key, self._clock())
            if key.gateway_key_id is not None and not dead:
                self._gateway.add_to_plan(made, key.gateway_key_id)
        # Noted last: until then the next run finds the plan by its name and goes on.
        noted = self._accounts.set_usage_plan(client.id, made, instead_of=gone)
        return self._present(noted, client.id)

    def _ready_for_keys(self, client_id: str) -> Client:
        client = self._with_usage_plan(self.client(client_id))
        self._tidy(client_id)
        return client

    def _refuse_rotation(self, key: ApiKey) -> None:
        if key.revoked_at is not None:
            raise CliError(f"key {key.id} is revoked: issue another")
        if is_expired(key, self._clock()):
            raise CliError(f"key {key.id} has expired: issue another")
        if key.gateway_key_id is None:
            raise CliError(f"key {key.id} is unfinished and nobody has its secret: issue another")
        if key.replaced_by is not None:
            raise CliError(f"key {key.id} is replaced already: rotate {key.replaced_by}")

    def _mint(self, most: int, mode: Mode, **fields: object) -> tuple[str, ApiKey]:
        """Store a new key, of which API Gateway does not know yet, and return its secret.

        Raises CliError when its client has `most` keys that work, or is not there.
        """
        secret = keys.mint(mode)
        own = {"id": new_id("key"), "sha256": keys.sha256(secret), "hint": keys.hint(secret)}
        try:
            key = ApiKey.model_validate(fields | own | {"mode": mode})
        except ValidationError as error:
            raise CliError(amiss(error)) from error
        match self._keyring.add_key(key, most):
            case "full":
                full = f"client {key.client_id} has {most} keys that work: revoke one first"
                raise CliError(full)
            case "no client":
                raise CliError(f"there is no client {key.client_id}, or it is being deleted")
        return secret, key

    def _let_in(self, client: Client, key: ApiKey, secret: str) -> str:
        """Make API Gateway let the key through under the client's plan; return its own id."""
        gateway_key_id = self._gateway.create_key(key.id, secret)
        self._gateway.add_to_plan(str(client.usage_plan_id), gateway_key_id)
        return gateway_key_id

    def _close(self, key: ApiKey) -> ApiKey:
        """Revoke in the table, which the function obeys, then delete at the gateway."""
        closed = self._keyring.revoke_key(key, self._clock())
        gateway_key_id = closed.gateway_key_id or self._gateway.find_key(key.id)
        if gateway_key_id is not None:
            self._gateway.delete_key(gateway_key_id)
        return closed

    def _tidy(self, client_id: str) -> None:
        """Put away what works no more, or never did.

        Keys that a crash left half made are removed, as nobody ever saw their secrets; those that
        have expired since are filed with the others that ended.
        """
        for key in self._keyring.working(client_id):
            if key.gateway_key_id is None and key.created_at <= self._clock() - ABANDONED_AFTER:
                # Revoked first, so that a run that is only slow cannot finish it meanwhile.
                self.discard_key(key)
            elif not works(key, self._clock()):
                self._keyring.file_ended(key)


def registry_of(stage: Stage) -> Registry:
    """Return the registry of an open stage."""
    return Registry(stage.accounts, stage.keyring, stage.gateway, load_plans(), stage.clock)


def open_registry(stage: str) -> Registry:
    """Return the registry of a deployed stage.

    Raises CliError when the stage is not deployed or, for `local`, does not run.
    """
    return registry_of(open_stage(stage))
