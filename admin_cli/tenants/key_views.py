"""How a key is shown: what it is good for now, and never its hash."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from chalicelib.domain import is_expired

if TYPE_CHECKING:
    from chalicelib.domain import ApiKey


def state_of(key: ApiKey) -> str:
    """Return what a key is good for now.

    `unfinished`: a crash kept its secret from everyone. `replaced`: it works until it expires.
    """
    if key.revoked_at is not None:
        return "revoked"
    if key.gateway_key_id is None:
        return "unfinished"
    if is_expired(key, datetime.now(UTC)):
        return "expired"
    return "active" if key.replaced_by is None else "replaced"


def works(key: ApiKey, now: datetime) -> bool:
    """Tell whether a key opens the API at `now`, as far as it is up to the key."""
    return key.revoked_at is None and not is_expired(key, now)


def key_view(key: ApiKey) -> dict[str, object]:
    """Return a key as the command line shows it in JSON: its hash is nobody's business."""
    return key.model_dump(exclude={"sha256"}) | {
        "scopes": sorted(key.scopes),
        "state": state_of(key),
    }
