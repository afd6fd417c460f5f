"""What is brought in and what answers is noted in the audit trail, before it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from admin_cli.console import CliError
from admin_cli.models.folder import Folder
from admin_cli.models.switch import bring, switch, trail_of
from chalicelib.errors import StorageUnavailable
from chalicelib.inference import packs
from chalicelib.inference.manifest import WEIGHTS
from chalicelib.inference.shelf import facts_of
from tests.unit.inference.packmaking import install

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chalicelib.inference.packs import Pack
    from chalicelib.tenants.audit import Trail
    from tests.integration.admin_cli.conftest import World


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    for number in (1, 2):
        install(folder, "alpha", str(number), number)
    packs.activate(folder, "alpha", "1")
    return folder


def pack(models: Path, version: str) -> Pack:
    return packs.load_manifest(models / f"alpha-{version}")


def activate(
    models: Path, version: str, trail: Trail | None, apply: Callable[[str], None] | None = None
) -> None:
    folder, wanted = Folder(models), facts_of(pack(models, version))
    do = apply or folder.activate
    switch(folder.facts, wanted, "model.activate", lambda: do(f"alpha-{version}"), trail)


def test_a_switch_is_noted_with_what_answered_before(world: World, models: Path) -> None:
    activate(models, "2", world.trail)
    assert packs.active_pack(models).ref.version == "2"
    before = packs.previous_pack(models)
    folder = Folder(models)
    switch(
        folder.facts,
        facts_of(before),
        "model.rollback",
        lambda: folder.rollback(before.path.name),
        world.trail,
    )
    first, second = world.audited()
    assert (first.action, first.subject, first.client_id) == ("model.activate", "alpha@2", None)
    assert (second.action, second.subject) == ("model.rollback", "alpha@1")
    assert first.before == second.after
    assert first.after == second.before
    assert first.after is not None
    assert first.after["sha256"] == pack(models, "2").ref.sha256


def test_what_answers_already_is_not_noted_again(world: World, models: Path) -> None:
    activate(models, "1", world.trail)
    assert world.audited() == []


def test_the_first_pack_of_all_has_nothing_before_it(world: World, tmp_path: Path) -> None:
    models = tmp_path / "fresh"
    install(models, "alpha", "1", 1)
    install(models, "alpha", "2", 2)
    activate(models, "2", world.trail)
    [entry] = world.audited()
    assert entry.before is None


def test_without_its_entry_nothing_is_switched(world: World, models: Path) -> None:
    world.table.delete()
    with pytest.raises(StorageUnavailable):
        activate(models, "2", world.trail)
    assert packs.active_pack(models).ref.version == "1"


def test_a_crash_in_between_is_healed_by_another_run(world: World, models: Path) -> None:
    class Killed(BaseException):
        pass

    def die(_: str) -> None:
        raise Killed

    with pytest.raises(Killed):
        activate(models, "2", world.trail, die)
    assert packs.active_pack(models).ref.version == "1"
    activate(models, "2", world.trail)
    assert packs.active_pack(models).ref.version == "2"
    assert [entry.subject for entry in world.audited()] == ["alpha@2", "alpha@2"]


def brought(models: Path, source: Path, trail: Trail, folder: Folder | None = None) -> None:
    bring(folder or Folder(models), source, facts_of(packs.verify_pack(source)), trail)


def test_a_pack_is_noted_before_it_is_brought_in_and_once(
    world: World, tmp_path: Path, models: Path
) -> None:
    third = install(tmp_path, "alpha", "3", 3)
    for _ in range(2):
        brought(models, third, world.trail)
    [entry] = world.audited()
    assert (entry.action, entry.subject, entry.before) == ("model.install", "alpha@3", None)
    assert entry.after is not None
    assert entry.after["sha256"] == packs.load_manifest(third).ref.sha256
    assert packs.verify_pack(models / "alpha-3").ref.version == "3"


def test_the_repair_of_a_damaged_pack_is_noted_with_what_was_amiss(
    world: World, tmp_path: Path, models: Path
) -> None:
    sound = install(tmp_path, "alpha", "2", 2)
    (models / "alpha-2" / WEIGHTS).write_bytes(b"")
    brought(models, sound, world.trail)
    [entry] = world.audited()
    assert entry.before is not None
    assert (entry.before["version"], "manifest" in entry.before["fault"]) == ("2", True)
    assert packs.verify_pack(models / "alpha-2").ref.version == "2"


def test_without_its_entry_nothing_is_brought_in(
    world: World, tmp_path: Path, models: Path
) -> None:
    third = install(tmp_path, "alpha", "3", 3)
    trail = world.trail
    world.table.delete()
    with pytest.raises(StorageUnavailable):
        brought(models, third, trail)
    assert not (models / "alpha-3").exists()


class Failing(Folder):
    """A folder that cannot take a pack in, for a reason of its own or as its process ends."""

    def __init__(self, model_dir: Path, error: BaseException) -> None:
        super().__init__(model_dir)
        self._error = error

    def install(self, source: Path) -> tuple[dict[str, Any], bool]:
        raise self._error


def test_an_install_that_crashed_after_its_entry_is_finished_by_another_run(
    world: World, tmp_path: Path, models: Path
) -> None:
    third = install(tmp_path, "alpha", "3", 3)
    with pytest.raises(KeyboardInterrupt):
        brought(models, third, world.trail, Failing(models, KeyboardInterrupt()))
    assert not (models / "alpha-3").exists()
    brought(models, third, world.trail)
    assert packs.verify_pack(models / "alpha-3").ref.version == "3"
    assert [entry.subject for entry in world.audited()] == ["alpha@3", "alpha@3"]


def test_a_pack_that_is_refused_after_its_entry_is_noted_as_refused(
    world: World, tmp_path: Path, models: Path
) -> None:
    third = install(tmp_path, "alpha", "3", 3)
    with pytest.raises(CliError, match="no room"):
        brought(models, third, world.trail, Failing(models, CliError("no room")))
    ordered, refused = world.audited()
    assert (ordered.before, refused.after) == (None, None)
    assert ordered.after == refused.before


def test_a_local_stage_that_does_not_run_has_no_trail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADGATE_HOME", str(tmp_path))
    assert trail_of("local") is None
