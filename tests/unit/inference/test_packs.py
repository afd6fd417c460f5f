"""Packs: what is refused and why, and that the old one serves on."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.errors import ModelUnavailable, NotFound
from chalicelib.inference.manifest import WEIGHTS
from chalicelib.inference.packs import (
    activate,
    active_pack,
    list_packs,
    load_manifest,
    rollback,
    verify_pack,
)
from tests.unit.inference.packmaking import GOLDEN, install, manifest_of, write_pack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_sound_pack_verifies(tmp_path: Path) -> None:
    pack = verify_pack(install(tmp_path))
    assert (pack.ref.name, pack.ref.version) == ("alpha", "1")
    assert len(pack.ref.sha256) == 64
    assert pack.facts().labels[0].label == "Cardiomegaly"


def _truncate(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def _flip_a_bit(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(data))


def _grow(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"more")


def _lose(folder: Path) -> None:
    (folder / GOLDEN).unlink()


def _link(folder: Path) -> None:
    target = folder.parent / "elsewhere"
    (folder / WEIGHTS).rename(target)
    (folder / WEIGHTS).symlink_to(target)


def _pipe(folder: Path) -> None:
    (folder / GOLDEN).unlink()
    os.mkfifo(folder / GOLDEN)


def _folder(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()


def _smuggle(folder: Path) -> None:
    (folder / "extra.pkl").write_bytes(pickle.dumps({"weights": 1}))


def _nest(folder: Path) -> None:
    (folder / "more").mkdir()


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (_truncate, "is not the file of the manifest"),
        (_flip_a_bit, "is not the file of the manifest"),
        (_grow, "larger than it may be"),
        (_lose, "is missing"),
        (_link, "symbolic link"),
        (_pipe, "no plain file"),
        (_folder, "no plain file"),
        (_smuggle, "unexpected 'extra.pkl'"),
        (_nest, "unexpected 'more'"),
    ],
)
def test_a_harmed_pack_is_refused_and_the_old_one_stays(
    tmp_path: Path, harm: Callable[[Path], None], reason: str
) -> None:
    install(tmp_path, "alpha")
    activate(tmp_path, "alpha", "1")
    harm(install(tmp_path, "beta"))
    with pytest.raises(ModelUnavailable, match=reason):
        activate(tmp_path, "beta", "1")
    assert active_pack(tmp_path).ref.name == "alpha"


def _set(*keys: str | int, to: object) -> Callable[[dict[str, Any]], None]:
    def spoil(manifest: dict[str, Any]) -> None:
        place: Any = manifest
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return spoil


_FACTS = {"bytes": 10, "sha256": "0" * 64}
_LARGE = {"bytes": 512 << 20, "sha256": "0" * 64}


@pytest.mark.parametrize(
    "spoil",
    [
        _set("files", "../../etc/passwd", to=_FACTS),
        _set("files", "/etc/passwd", to=_FACTS),
        _set("files", "weights.pt", to=_FACTS),
        _set("files", "weights.pkl", to=_FACTS),
        _set("files", "a/weights.safetensors", to=_FACTS),
        _set("files", WEIGHTS, "bytes", to=10**12),
        _set("files", WEIGHTS, "sha256", to="abc"),
        _set("files", GOLDEN, "bytes", to=(8 << 20) + 1),
        _set("files", "MODEL_CARD.md", to={"bytes": (1 << 20) + 1, "sha256": "0" * 64}),
        _set("files", "notes.json", to={"bytes": (1 << 20) + 1, "sha256": "0" * 64}),
        _set("files", to={WEIGHTS: _LARGE, GOLDEN: _FACTS, "more.safetensors": _LARGE}),
        _set("files", to={GOLDEN: _FACTS, "notes.md": _FACTS}),
        _set("golden", "input", to="other.pgm"),
        _set("golden", "probabilities", to=[0.1, 0.2]),
        _set("golden", "tolerance", to=1.0),
        _set("golden", "tolerance", to=float("nan")),
        _set("labels", 0, "slope", to=-1.0),
        _set("labels", 0, "threshold", to=1.5),
        _set("labels", to=[]),
        _set("input", "size", to=100_000),
        _set("format", to=2),
        _set("surprise", to=1),
    ],
)
def test_a_manifest_that_claims_the_wrong_thing_is_refused(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], None]
) -> None:
    manifest = manifest_of("alpha", "1", 0)
    spoil(manifest)
    with pytest.raises(ModelUnavailable, match="pack alpha-1: manifest"):
        load_manifest(write_pack(tmp_path, manifest))


@pytest.mark.parametrize("other", ["Lung Lesion", "Lung_Lesion", "lung - lesion"])
def test_two_labels_with_heatmaps_of_one_name_are_refused(tmp_path: Path, other: str) -> None:
    manifest = manifest_of("alpha", "1", 0)
    [label] = manifest["labels"]
    manifest["labels"] = [{**label, "name": "Lung Lesion"}, {**label, "name": other}]
    manifest["golden"]["probabilities"] *= 2
    with pytest.raises(ModelUnavailable, match="a label is named twice"):
        load_manifest(write_pack(tmp_path, manifest))


@pytest.mark.parametrize("name", ["../alpha", "Alpha", "al pha", "", "-alpha"])
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    folder = install(tmp_path)
    manifest = (folder / "manifest.json").read_text().replace('"alpha"', f'"{name}"')
    (folder / "manifest.json").write_text(manifest)
    with pytest.raises(ModelUnavailable):
        load_manifest(folder)


def test_a_pack_in_another_folder_is_refused(tmp_path: Path) -> None:
    folder = install(tmp_path).rename(tmp_path / "beta-1")
    with pytest.raises(ModelUnavailable, match="calls itself alpha-1"):
        load_manifest(folder)


def test_a_linked_folder_is_refused(tmp_path: Path) -> None:
    folder = install(tmp_path / "outside")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "alpha-1").symlink_to(folder)
    with pytest.raises(ModelUnavailable, match="symbolic link"):
        load_manifest(tmp_path / "models" / "alpha-1")
    assert list_packs(tmp_path / "models") == ()


def test_a_folder_for_a_manifest_does_not_hide_the_other_packs(tmp_path: Path) -> None:
    install(tmp_path, "alpha")
    (tmp_path / "beta-1" / "manifest.json").mkdir(parents=True)
    with pytest.raises(ModelUnavailable, match="no plain file"):
        load_manifest(tmp_path / "beta-1")
    assert [pack.ref.name for pack in list_packs(tmp_path)] == ["alpha"]


def test_a_huge_manifest_is_not_read(tmp_path: Path) -> None:
    folder = install(tmp_path)
    (folder / "manifest.json").write_bytes(b" " * 1_000_000)
    with pytest.raises(ModelUnavailable, match="larger than it may be"):
        load_manifest(folder)


def test_the_only_pack_is_active_without_being_activated(tmp_path: Path) -> None:
    install(tmp_path, "alpha")
    assert active_pack(tmp_path).ref.name == "alpha"
    install(tmp_path, "beta")
    with pytest.raises(ModelUnavailable, match="no model was activated"):
        active_pack(tmp_path)


def test_no_pack_and_no_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="no model is installed"):
        active_pack(tmp_path)
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        active_pack(tmp_path / "absent")


def test_activation_and_rollback(tmp_path: Path) -> None:
    install(tmp_path, "alpha", "1")
    with pytest.raises(NotFound, match="no earlier model"):
        rollback(tmp_path)
    install(tmp_path, "alpha", "2", seed=1)
    activate(tmp_path, "alpha", "1")
    activate(tmp_path, "alpha", "2")
    assert active_pack(tmp_path).ref.version == "2"
    assert rollback(tmp_path).ref.version == "1"
    assert active_pack(tmp_path).ref.version == "1"
    assert rollback(tmp_path).ref.version == "2"


def test_activating_the_active_pack_keeps_the_way_back(tmp_path: Path) -> None:
    for version in ("1", "2"):
        install(tmp_path, "alpha", version)
        activate(tmp_path, "alpha", version)
    activate(tmp_path, "alpha", "2")
    assert rollback(tmp_path).ref.version == "1"


def test_activation_leaves_nothing_behind_but_the_choice(tmp_path: Path) -> None:
    install(tmp_path)
    activate(tmp_path, "alpha", "1")
    assert {entry.name for entry in tmp_path.iterdir()} == {"alpha-1", "active.json"}


def test_an_unknown_pack_is_not_found(tmp_path: Path) -> None:
    install(tmp_path)
    with pytest.raises(NotFound, match="gamma@7 is not installed"):
        activate(tmp_path, "gamma", "7")


@pytest.mark.parametrize("text", ["", "{", '{"name": "../x", "version": "1"}', "[]"])
def test_a_broken_choice_is_told(tmp_path: Path, text: str) -> None:
    install(tmp_path)
    (tmp_path / "active.json").write_text(text)
    with pytest.raises(ModelUnavailable, match="not well formed"):
        active_pack(tmp_path)
