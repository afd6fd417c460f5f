"""Which tree serves, and which go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from chalicelib.runtime.manifest import TreeRefused
from chalicelib.runtime.sync import Sync
from chalicelib.runtime.trees import ACTIVE, Active, Trees
from tests.fakes.runtime import EasyTrial, FolderSource, make_tree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def names(tmp_path: Path) -> list[str]:
    return [make_tree(tmp_path, word).tree for word in ("one", "two", "three")]


@pytest.fixture
def sync(tmp_path: Path) -> Sync:
    source = FolderSource(tmp_path / "built")
    return Sync(Trees(tmp_path / "mount"), source, EasyTrial(), lambda: 900.0)


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    return Trees(tmp_path / "mount")


def test_nothing_is_active_on_an_empty_mount(trees: Trees, sync: Sync) -> None:
    assert trees.active() is None
    assert sync.handle({"action": "list"}) == {
        "state": "done",
        "active": None,
        "previous": None,
        "switches": 0,
        "trees": [],
    }


def test_two_trees_are_kept(trees: Trees, sync: Sync, names: list[str]) -> None:
    for name in names:
        assert sync.handle({"action": "sync", "tree": name})["state"] == "done"
    assert trees.installed() == sorted(names[1:])
    assert trees.active() == Active(names[2], names[1], 2)
    assert sorted(entry.name for entry in trees.root.iterdir()) == sorted(
        [".lock", ACTIVE, *names[1:]]
    )


def test_each_switch_is_counted_and_no_repeat(sync: Sync, trees: Trees, names: list[str]) -> None:
    """There and back is another state than before, although the same tree serves."""
    order = (*names[:2], names[1], names[0])
    counted = [sync.handle({"action": "sync", "tree": name})["switches"] for name in order]
    assert counted == [0, 1, 1, 2]
    older = {"tree": names[0], "previous": names[1]}
    (trees.root / ACTIVE).write_text(json.dumps(older), encoding="utf-8")
    assert trees.active() == Active(names[0], names[1], 0)


def test_back_and_forth(sync: Sync, names: list[str]) -> None:
    for name in names[:2]:
        sync.handle({"action": "sync", "tree": name})
    for wanted, before in ((names[0], names[1]), (names[1], names[0])):
        answer = sync.handle({"action": "rollback"})
        assert (answer["active"], answer["previous"]) == (wanted, before)
    assert sync.handle({"action": "activate", "tree": names[0]})["active"] == names[0]
    assert sync.handle({"action": "activate", "tree": names[0]})["previous"] == names[1]


def test_there_is_no_way_back_from_the_first(sync: Sync, names: list[str]) -> None:
    sync.handle({"action": "sync", "tree": names[0]})
    answer = sync.handle({"action": "rollback"})
    assert answer == {"state": "refused", "detail": "there is no earlier tree to go back to"}


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"action": "format"},
        {"action": "sync", "tree": 7},
        {"action": "sync"},
        {"action": "activate", "tree": "../../etc"},
        {"action": "activate", "tree": "a" * 64},
        {"action": "list", "and": "more"},
    ],
)
def test_a_senseless_order_is_refused(sync: Sync, event: dict[str, object]) -> None:
    assert sync.handle(event)["state"] == "refused"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tree": "../x", "previous": null}', "{}"])
def test_a_damaged_pointer_is_told(trees: Trees, text: str) -> None:
    trees.root.mkdir()
    (trees.root / ACTIVE).write_text(text)
    with pytest.raises(TreeRefused):
        trees.active()


def test_a_tree_is_activated_only_with_its_own_manifest(
    trees: Trees, sync: Sync, names: list[str]
) -> None:
    for name in names[:2]:
        sync.handle({"action": "sync", "tree": name})
    other = trees.folder(names[1]) / "manifest.json"
    (trees.folder(names[0]) / "manifest.json").write_bytes(other.read_bytes())
    with pytest.raises(TreeRefused, match="belongs to another tree"):
        trees.activate(names[0])
    assert json.loads((trees.root / ACTIVE).read_bytes())["tree"] == names[1]


def test_two_do_not_work_at_once(trees: Trees, sync: Sync, names: list[str]) -> None:
    with trees.alone():
        answer = sync.handle({"action": "sync", "tree": names[0]})
    assert answer["state"] == "working"
    assert "another run" in answer["detail"]
    assert sync.handle({"action": "sync", "tree": names[0]})["state"] == "done"
