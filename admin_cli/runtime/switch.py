"""Which tree serves, switched together with its line in the audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from admin_cli.console import CliError
from admin_cli.runtime import SHORTEST
from chalicelib.tenants.audit import Change

if TYPE_CHECKING:
    from collections.abc import Callable

    from admin_cli.runtime.remote import Mount
    from chalicelib.tenants.audit import Trail


def switch(
    mount: Mount, trail: Trail, action: str, tree: str | None, apply: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Note that `tree` is to serve, then let it, by `apply`; return what `apply` does.

    `tree`: None for the one before the active one. Mount and trail cannot change in one step. The
    entry comes first: a crash between the two leaves one that says too much, never a tree that
    serves and that nobody is known to have chosen. What the function then refuses is noted too.
    Raises CliError as the mount does.
    """
    facts = mount.order("list")
    wanted = tree or facts["previous"]
    if wanted in {None, facts["active"]}:
        return apply()  # nothing to switch to, which the function says better, or nothing to switch
    _note(trail, action, facts["active"], wanted)
    try:
        return apply()
    except CliError:
        active = mount.order("list")["active"]
        if active != wanted:
            _note(trail, action, wanted, active)
        raise


def roll_back(mount: Mount, trail: Trail, tree: str | None) -> dict[str, Any]:
    """Let the tree before the active one serve; return what the mount says.

    `tree`: how its hash begins. One that serves by now, as a run that was cut off has left it, goes
    on doing so; None leads back, or forward again. Raises CliError as the mount does, and for a
    tree that is neither of the two.
    """
    action = "runtime.rollback"
    if tree is None:
        return switch(mount, trail, action, None, lambda: mount.order("rollback"))
    facts = mount.order("list")
    both = {facts["active"], facts["previous"]} - {None}
    found = [name for name in both if name.startswith(tree)]
    if len(tree) < SHORTEST or len(found) != 1:
        raise CliError(
            f"neither the tree that serves nor the one before begins with {tree!r}; give at least "
            "six digits, or let any other serve by `radgate runtime activate`"
        )
    name = str(found[0])
    return switch(mount, trail, action, name, lambda: mount.order("activate", tree=name))


def _note(trail: Trail, action: str, before: str | None, after: str | None) -> None:
    told = [None if one is None else {"tree": one} for one in (before, after)]
    change = Change(action, "runtime", None, before=told[0], after=told[1])
    trail.commit(lambda: change)
