"""`plans apply`: every client's terms, and its gate in API Gateway, as the catalogue says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from admin_cli.tenants.gates import gate_patches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from admin_cli.gateway import Gateway
    from admin_cli.tenants.registry import Registry
    from chalicelib.domain import Client, Plan


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not as the catalogue says, for one client; `changes` in words, at least one."""

    client_id: str
    plan: str
    changes: tuple[str, ...]


def differences(
    registry: Registry, gateway: Gateway, plans: Mapping[str, Plan]
) -> tuple[Difference, ...]:
    """Return what `apply` would change, by client.

    A client whose plan left the catalogue keeps the terms that it was sold; a client that is being
    deleted is left alone. Both places are read in pages, so this costs a call for 500 clients.
    """
    gates = gateway.usage_plans()
    found = list[Difference]()
    for client in registry.clients():
        if client.deleting_at is not None:
            continue
        terms = plans.get(client.plan.name, client.plan)
        changes = [*_changed_terms(client, terms), *_changed_gate(client, terms, gates)]
        if changes:
            found.append(Difference(client.id, client.plan.name, tuple(changes)))
    return tuple(found)


def apply(registry: Registry, wanted: tuple[Difference, ...], done: Callable[[], object]) -> None:
    """Make the changes, client by client; `done` is called after each.

    A run that ends early is taken up by the next, which sees only what is left.
    """
    for difference in wanted:
        registry.mend_plan(difference.client_id)
        done()


def _changed_terms(client: Client, terms: Plan) -> list[str]:
    was, will = client.plan.model_dump(mode="json"), terms.model_dump(mode="json")
    return [
        f"{name}: {_words(was[name])} → {_words(will[name])}"
        for name in will
        if was[name] != will[name]
    ]


def _changed_gate(
    client: Client, terms: Plan, gates: Mapping[str, Mapping[str, object]]
) -> list[str]:
    if client.usage_plan_id is None:
        return ["usage plan: none → made"]
    gate = gates.get(client.usage_plan_id)
    if gate is None:
        return ["usage plan: gone → made"]
    return [
        f"API Gateway {patch['path']} → {patch['value']}" for patch in gate_patches(gate, terms)
    ]


def _words(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(str(part) for part in value.values())
    return "none" if value is None else str(value)
