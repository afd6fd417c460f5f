"""Which tree serves is noted in the audit trail, and before anything is switched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from admin_cli.console import CliError
from admin_cli.runtime.switch import roll_back, switch
from chalicelib.runtime.sync import Sync
from chalicelib.runtime.trees import Trees
from tests.fakes.runtime import EasyTrial, FolderSource, make_tree
from tests.integration.admin_cli.conftest import Killed
from tests.integration.admin_cli.test_runtime import FakeLambda, mount_of

if TYPE_CHECKING:
    from pathlib import Path

    from admin_cli.runtime.remote import Mount
    from tests.integration.admin_cli.conftest import World


@pytest.fixture
def trees(tmp_path: Path) -> tuple[str, str]:
    return make_tree(tmp_path, "alpha").tree, make_tree(tmp_path, "omega").tree


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    source = FolderSource(tmp_path / "built")
    sync = Sync(Trees(tmp_path / "mount"), source, EasyTrial(), lambda: 900.0)
    return mount_of(FakeLambda(sync.handle))


def sync(world: World, mount: Mount, tree: str) -> dict[str, Any]:
    return switch(
        mount, world.trail, "runtime.sync", tree, lambda: mount.sync(tree, lambda _text: None)
    )


def told(world: World) -> list[tuple[str, object, object]]:
    return [(one.action, one.before, one.after) for one in world.audited()]


def test_each_switch_is_noted_with_what_served_before(
    world: World, mount: Mount, trees: tuple[str, str]
) -> None:
    first, second = trees
    for tree in (first, second, second):  # what serves already is not noted again
        assert sync(world, mount, tree)["active"] == tree
    back = switch(mount, world.trail, "runtime.rollback", None, lambda: mount.order("rollback"))
    assert back["active"] == first
    switch(
        mount,
        world.trail,
        "runtime.activate",
        second,
        lambda: mount.order("activate", tree=second),
    )
    assert told(world) == [
        ("runtime.sync", None, {"tree": first}),
        ("runtime.sync", {"tree": first}, {"tree": second}),
        ("runtime.rollback", {"tree": second}, {"tree": first}),
        ("runtime.activate", {"tree": first}, {"tree": second}),
    ]


def test_a_kill_before_the_switch_leaves_its_entry(
    world: World, mount: Mount, trees: tuple[str, str]
) -> None:
    first, second = trees
    sync(world, mount, first)

    def killed() -> dict[str, Any]:
        raise Killed

    with pytest.raises(Killed):
        switch(mount, world.trail, "runtime.sync", second, killed)
    assert mount.order("list")["active"] == first
    assert told(world)[-1] == ("runtime.sync", {"tree": first}, {"tree": second})


def test_a_refused_switch_is_taken_back_in_the_trail(
    world: World, mount: Mount, trees: tuple[str, str]
) -> None:
    sync(world, mount, trees[0])
    with pytest.raises(CliError, match="the function refuses"):
        sync(world, mount, "f" * 64)
    assert told(world)[1:] == [
        ("runtime.sync", {"tree": trees[0]}, {"tree": "f" * 64}),
        ("runtime.sync", {"tree": "f" * 64}, {"tree": trees[0]}),
    ]


def test_a_rollback_to_a_named_tree_can_be_run_again(
    world: World, mount: Mount, trees: tuple[str, str]
) -> None:
    """As after a kill between the switch and the processes' new beginning."""
    first, second = trees
    for tree in (first, second):
        sync(world, mount, tree)
    for _run in range(2):
        assert roll_back(mount, world.trail, first[:12])["active"] == first
    assert told(world)[2:] == [("runtime.rollback", {"tree": second}, {"tree": first})]
    for wrong in (first[:5], "f" * 12, ""):
        with pytest.raises(CliError, match="neither the tree that serves nor the one before"):
            roll_back(mount, world.trail, wrong)
    assert mount.order("list")["active"] == first
    assert roll_back(mount, world.trail, None)["active"] == second, "without a name it leads on"


def test_where_there_is_nothing_before_nothing_is_noted(
    world: World, mount: Mount, trees: tuple[str, str]
) -> None:
    sync(world, mount, trees[0])
    with pytest.raises(CliError, match="the function refuses"):
        switch(mount, world.trail, "runtime.rollback", None, lambda: mount.order("rollback"))
    assert len(world.audited()) == 1
