"""The operator's handbook, run against the local AWS as it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.documents import commands

if TYPE_CHECKING:
    from tests.e2e.conftest import Radgate, Stack

CLIENT = "leaky"


def live_key(radgate: Radgate) -> str:
    """Return the newest key of the handbook's client that is not revoked."""
    keys = radgate.json("keys", "list", CLIENT)
    return str([key["id"] for key in keys if key["revoked_at"] is None][-1])


def test_what_the_handbook_marks_to_be_run_runs(stack: Stack) -> None:
    marked = [shown for shown in commands("operations.md") if shown.run]
    assert len(marked) > 10
    for shown in marked:
        words = [live_key(stack.radgate) if w == "KEY_ID" else w for w in shown.words[1:]]
        done = stack.radgate.run(*words)
        assert done.returncode == 0, f"{shown.command}: {done.stderr}"
