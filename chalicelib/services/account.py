"""What a client may know of itself: plan, limits, usage, and its keys without their secrets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import AwareDatetime

from chalicelib.domain import ApiKey, Caller, Mode, Plan, Scope, Usage, Value

if TYPE_CHECKING:
    from chalicelib.ports import Directory


class KeySummary(Value):
    """A key as its owner sees it; `current` marks the one that made this request."""

    id: str
    hint: str
    label: str
    mode: Mode
    scopes: tuple[Scope, ...]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None
    revoked_at: AwareDatetime | None
    last_used_at: AwareDatetime | None
    current: bool


class Account(Value):
    """The answer of `GET /account`."""

    id: str
    name: str
    status: Literal["active", "suspended"]
    plan: Plan
    usage: Usage
    keys: tuple[KeySummary, ...]


@dataclass(frozen=True, slots=True)
class AccountService:
    """Reads an account."""

    directory: Directory

    def account(self, caller: Caller, usage: Usage) -> Account:
        """Return the caller's account, given its usage. Raises StorageUnavailable."""
        client = caller.client
        keys = self.directory.keys(client.id)
        return Account(
            id=client.id,
            name=client.name,
            status=client.status,
            plan=client.plan,
            usage=usage,
            keys=tuple(_summary(key, current=key.id == caller.key.id) for key in keys),
        )


def _summary(key: ApiKey, *, current: bool) -> KeySummary:
    return KeySummary(
        id=key.id,
        hint=key.hint,
        label=key.label,
        mode=key.mode,
        scopes=tuple(sorted(key.scopes)),
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
        current=current,
    )
