"""Clients, in the table and in API Gateway together; `registry.py` adds their keys."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from admin_cli.console import CliError
from admin_cli.tenants.catalogue import amiss
from chalicelib.delivery.mail import is_address
from chalicelib.domain import Client

if TYPE_CHECKING:
    from collections.abc import Mapping

    from admin_cli.gateway import Gateway
    from admin_cli.tenants.accounts import Accounts
    from admin_cli.tenants.audited import Attribute
    from chalicelib.domain import GatePolicy, Plan
    from chalicelib.ports import Clock


class ClientRegistry:
    """Clients of one stage. Every method may raise CliError or StorageUnavailable."""

    def __init__(
        self, accounts: Accounts, gateway: Gateway, plans: Mapping[str, Plan], clock: Clock
    ) -> None:
        self._accounts = accounts
        self._gateway = gateway
        self._plans = plans
        self._clock = clock

    def create_client(  # noqa: PLR0913 - each is a detail of a client
        self,
        id: str,  # noqa: A002
        name: str,
        email: str,
        plan: str,
        *,
        mail: bool = False,
        retention_days: int | None = None,
    ) -> Client:
        """Create a client with its usage plan, or finish what an earlier run began.

        A client that is there already with the same name, e-mail and plan is returned as it is,
        but with `mail` switched on and the retention changed if that is wanted. Raises CliError
        when the id is or was another's or the plan is not in the catalogue.
        """
        terms = self._terms(plan)
        fields = {"id": id, "name": name, "email": email, "mail": mail, "plan": terms}
        kept = {} if retention_days is None else {"retention_days": retention_days}
        try:
            client = Client.model_validate(fields | kept | {"created_at": self._clock()})
        except ValidationError as error:
            raise CliError(amiss(error)) from error
        _refuse_unusable(email)
        if not self._accounts.add_client(client):
            known = self._accounts.client(id)
            if known is None:
                raise CliError(f"the id {id} belonged to a client that was deleted: take another")
            if (known.name, known.email, known.plan.name) != (name, email, plan):
                raise CliError(f"client {id} exists already, with another name, e-mail or plan")
            client = known
            wanted: dict[str, Attribute] = {**kept, **({"mail": True} if mail else {})}
            if wanted:
                client = self._present(self._accounts.set_details(id, wanted), id)
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

    def update_client(  # noqa: PLR0913 - each may be changed alone
        self,
        client_id: str,
        name: str | None = None,
        email: str | None = None,
        plan: str | None = None,
        gate_policy: GatePolicy | None = None,
        *,
        mail: bool | None = None,
        retention_days: int | None = None,
    ) -> Client:
        """Change what is given; the plan's terms become those of the catalogue as it is now.

        The table first, then API Gateway, which is compared and corrected in every run, so that
        one that crashed is finished by the next.
        """
        client = self.client(client_id)
        details = {
            "name": name,
            "email": email,
            "gate_policy": gate_policy,
            "mail": mail,
            "retention_days": retention_days,
        }
        given = {field: value for field, value in details.items() if value is not None}
        terms = None if plan is None else self._terms(plan)
        try:
            wanted = Client.model_validate(client.model_dump() | given)
        except ValidationError as error:
            raise CliError(amiss(error)) from error
        if email is not None or mail:
            # One that was stored before it was asked for may stay, as long as no mail goes there.
            _refuse_unusable(wanted.email)
        if given:
            self._present(self._accounts.set_details(client_id, given), client_id)
        if terms is not None:
            self._present(self._accounts.set_plan(client_id, terms, self._clock()), client_id)
        client = self._with_usage_plan(self.client(client_id))
        self._set_gate(client)
        return client

    def suspend(self, client_id: str) -> Client:
        """Pause a client: the function refuses its keys. Twice is no error."""
        return self._with_status(client_id, "suspended")

    def resume(self, client_id: str) -> Client:
        """Let a suspended client in again. Twice is no error."""
        return self._with_status(client_id, "active")

    def _terms(self, plan: str) -> Plan:
        if plan not in self._plans:
            raise CliError(f"there is no plan {plan}: choose one of {', '.join(self._plans)}")
        return self._plans[plan]

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

    def _set_gate(self, client: Client) -> None:
        """Give a client's usage plan the limits of its terms, noted before it is done."""
        note = partial(self._accounts.note_gate, client.id)
        self._gateway.set_limits(str(client.usage_plan_id), client.plan, note)

    def _with_status(self, client_id: str, status: Literal["active", "suspended"]) -> Client:
        return self._present(self._accounts.set_status(client_id, status), client_id)

    def _present(self, client: Client | None, client_id: str) -> Client:
        if client is None:
            self.client(client_id)  # raises when there is none at all
            raise CliError(f"client {client_id} is being deleted: run `clients delete` again")
        return client


def _refuse_unusable(email: str) -> None:
    if not is_address(email):
        raise CliError("the client's e-mail must be one plain address")
