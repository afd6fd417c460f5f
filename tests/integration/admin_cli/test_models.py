"""`radgate models`: what gets in, what is kept out, and what answers afterwards."""

from __future__ import annotations

import fcntl
import json
import pickle
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from admin_cli.__main__ import run
from chalicelib.inference import packs
from chalicelib.inference.manifest import WEIGHTS
from chalicelib.inference.predictor import Predictor
from tests.unit.inference.packmaking import GOLDEN, install, manifest_of, write_pack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def radgate(
    models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, Any]]:
    """Run `radgate models …` on the test's folder; return the status and the JSON or the error."""
    monkeypatch.setenv("RADGATE_HOME", str(models.parent))  # where no local AWS runs

    def call(command: str, *args: str) -> tuple[int, Any]:
        capsys.readouterr()
        line = ["--output", "json", "models", command, *args, "--model-dir", str(models)]
        status = run(line)
        out, err = capsys.readouterr()
        return status, (json.loads(out) if status == 0 else err.strip().splitlines()[-1])

    return call


def spoil(folder: Path, **changes: Any) -> Path:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))
    return folder


def test_the_life_of_two_packs(
    radgate: Callable[..., tuple[int, Any]], models: Path, tmp_path: Path
) -> None:
    """Install, serve, switch, go back; a running predictor follows each step."""
    now = [0.0]
    first, second = (install(tmp_path, "alpha", number, int(number)) for number in ("1", "2"))

    status, answer = radgate("install", str(first))
    assert (status, answer["installed"], answer["sha256"]) == (
        0,
        True,
        packs.load_manifest(first).ref.sha256,
    )
    predictor = Predictor(models, threads=1, refresh=30, clock=lambda: now[0])
    assert predictor.facts().ref.version == "1"

    # A second pack beside the only one must not take its place, nor leave nobody serving.
    assert radgate("install", str(second))[0] == 0
    assert packs.active_pack(models).ref.version == "1"
    assert [(row["version"], row["active"]) for row in radgate("list")[1]] == [
        ("1", True),
        ("2", False),
    ]
    assert all(row["sound"] for row in radgate("verify")[1])

    assert radgate("activate", "alpha@2")[0] == 0
    assert predictor.facts().ref.version == "1"
    now[0] = 31
    assert predictor.facts().ref.version == "2"

    assert radgate("rollback")[1]["version"] == "1"
    now[0] = 62
    assert predictor.facts().ref.version == "1"

    # What went bad on the disk is not activated, and the old one serves on.
    data = bytearray((models / "alpha-2" / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (models / "alpha-2" / WEIGHTS).write_bytes(data)
    status, error = radgate("activate", "alpha@2")
    assert status == 1
    assert "is not the file of the manifest" in error
    status, error = radgate("verify")
    assert (status, error) == (1, "radgate: not sound: alpha@2")
    now[0] = 93
    assert predictor.facts().ref.version == "1"

    # Installing it again repairs it.
    assert radgate("install", str(second))[1]["installed"] is True
    assert packs.verify_pack(models / "alpha-2").ref == packs.load_manifest(second).ref


def test_installing_twice_changes_nothing(
    radgate: Callable[..., tuple[int, Any]], models: Path, tmp_path: Path
) -> None:
    shutil.copytree(install(tmp_path), models / "alpha-1")
    before = (models / "alpha-1").stat().st_ino
    status, answer = radgate("install", str(tmp_path / "alpha-1"))
    assert (status, answer["installed"]) == (0, False)
    assert (models / "alpha-1").stat().st_ino == before


def test_another_pack_of_the_same_version_is_refused(
    radgate: Callable[..., tuple[int, Any]], models: Path, tmp_path: Path
) -> None:
    shutil.copytree(install(tmp_path), models / "alpha-1")
    kept = packs.load_manifest(models / "alpha-1").ref
    status, error = radgate("install", str(spoil(tmp_path / "alpha-1", licence="another")))
    assert status == 1
    assert "give the new one another version" in error
    assert packs.load_manifest(models / "alpha-1").ref == kept


def _cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])


def _half(folder: Path) -> None:
    (folder / GOLDEN).unlink()


def _stranger(folder: Path) -> None:
    (folder / "hook.pkl").write_bytes(pickle.dumps({}))


def _link(folder: Path) -> None:
    (folder / GOLDEN).rename(folder.parent / GOLDEN)
    (folder / GOLDEN).symlink_to(folder.parent / GOLDEN)


def _climb(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../../evil.txt"] = manifest["files"][WEIGHTS]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _swell(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][WEIGHTS]["bytes"] = 10**10
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _pickled(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["weights.pt"] = manifest["files"][WEIGHTS]
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (_cut, "is not the file of the manifest"),
        (_half, "is missing"),
        (_stranger, "unexpected 'hook.pkl'"),
        (_link, "is a symbolic link"),
        (_climb, "String should match pattern"),
        (_swell, "less than or equal to"),
        (_pickled, "String should match pattern"),
    ],
)
def test_a_bad_pack_stays_outside_and_the_old_one_serves(
    radgate: Callable[..., tuple[int, Any]],
    models: Path,
    tmp_path: Path,
    harm: Callable[[Path], None],
    reason: str,
) -> None:
    shutil.copytree(install(tmp_path), models / "alpha-1")
    bad = install(tmp_path, "beta", "1", seed=1)
    harm(bad)
    status, error = radgate("install", str(bad))
    assert status == 1
    assert reason in error
    assert [path.name for path in models.iterdir() if not path.name.startswith(".")] == ["alpha-1"]
    assert not list(models.glob(".install-*"))
    assert packs.active_pack(models).ref.name == "alpha"


def test_a_pack_with_another_golden_answer_stays_outside(
    radgate: Callable[..., tuple[int, Any]], models: Path, tmp_path: Path
) -> None:
    manifest = manifest_of("alpha", "1", 0)
    manifest["golden"]["probabilities"] = [0.99]
    status, error = radgate("install", str(write_pack(tmp_path, manifest)))
    assert status == 1
    assert "golden input: Cardiomegaly is" in error
    assert not (models / "alpha-1").exists()
    # Put there by other means, it cannot be activated either.
    shutil.copytree(tmp_path / "alpha-1", models / "alpha-1")
    assert radgate("activate", "alpha@1")[0] == 1
    assert not (models / packs.ACTIVE).exists()


def test_what_a_killed_install_left_is_cleared_away(
    radgate: Callable[..., tuple[int, Any]], models: Path, tmp_path: Path
) -> None:
    leftover = models / ".install-killed" / "alpha-1"
    leftover.mkdir(parents=True)
    (leftover / WEIGHTS).write_bytes(b"half of it")
    assert radgate("list")[1] == []
    assert radgate("install", str(install(tmp_path)))[0] == 0
    assert not leftover.parent.exists()


def test_two_installs_do_not_run_at_once(
    radgate: Callable[..., tuple[int, Any]], models: Path, tmp_path: Path
) -> None:
    models.mkdir()
    with (models / ".install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, error = radgate("install", str(install(tmp_path)))
    assert (status, error) == (1, "radgate: another install runs in this model folder")


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("activate", "alpha@9"), "is not installed"),
        (("rollback",), "no earlier model"),
        (("verify",), "no model is installed"),
        (("install", "nothing-of-that-name"), "neither a folder nor the name"),
    ],
)
def test_refusals_are_one_line(
    radgate: Callable[..., tuple[int, Any]], args: tuple[str, ...], reason: str
) -> None:
    status, error = radgate(*args)
    assert status == 1
    assert reason in error


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("install", "cardionet", "--sha256", "0" * 64), "are for releases"),
        (("install", "densenet121-res224-all", "--sha256", "0" * 63), "64 digits"),
    ],
)
def test_wrong_usage_has_its_own_status(
    radgate: Callable[..., tuple[int, Any]], args: tuple[str, ...], reason: str
) -> None:
    status, error = radgate(*args)
    assert (status, reason in error) == (2, True)


def test_a_broken_pack_is_listed_with_its_reason(
    radgate: Callable[..., tuple[int, Any]], models: Path, tmp_path: Path
) -> None:
    shutil.copytree(install(tmp_path), models / "alpha-1")
    (models / "alpha-1" / "manifest.json").write_text("{")
    (row,) = radgate("list")[1]
    assert row["folder"] == "alpha-1"
    assert "manifest" in row["error"]
    assert radgate("verify", "alpha@1") == (1, "radgate: not sound: alpha@1")


def lengthen(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b" ")


def swap(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lengthen, "is not as long as the manifest says"),
        (lambda file: file.write_bytes(b""), "is not as long as the manifest says"),
        (lambda file: file.unlink(), "is missing"),
        (swap, "is no plain file"),
        (lambda file: (file.parent / "more.txt").write_text("?"), "unexpected 'more.txt'"),
    ],
    ids=["longer", "empty", "gone", "folder", "stranger"],
)
def test_the_list_tells_of_files_that_are_not_those_of_the_manifest(
    radgate: Callable[..., tuple[int, Any]],
    models: Path,
    harm: Callable[[Path], None],
    reason: str,
) -> None:
    """The pack is the only one, so it is the active one as well: both are said."""
    install(models)
    sound, damaged = radgate("list")[1], models / "alpha-1" / WEIGHTS
    assert (sound[0]["active"], sound[0]["error"]) == (True, None)
    harm(damaged)
    (row,) = radgate("list")[1]
    assert reason in row["error"]
    assert {**row, "error": None} == sound[0]
    # What else asks for the packs goes on: a repair, and the trail of it.
    assert radgate("verify", "alpha@1") == (1, "radgate: not sound: alpha@1")
    assert radgate("activate", "alpha@1")[0] == 1
    assert radgate("install", str(install(models.parent)))[1]["installed"] is True
    assert radgate("list")[1] == sound


def test_what_verify_prints_it_also_takes(
    radgate: Callable[..., tuple[int, Any]], models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(models)
    (row,) = radgate("verify")[1]
    assert row == {"model": "alpha@1", "sound": True, "error": ""}
    assert radgate("verify", row["model"]) == (0, [row])
    assert run(["models", "verify", "--model-dir", str(models)]) == 0
    shown = capsys.readouterr().out
    assert "alpha@1" in shown
    assert "alpha-1" not in shown
    status, error = radgate("verify", "alpha-1")
    assert (status, "NAME@VERSION" in error) == (2, True)


def test_a_damaged_choice_is_told_and_another_can_be_made(
    radgate: Callable[..., tuple[int, Any]], models: Path
) -> None:
    install(models)
    (models / packs.ACTIVE).write_text("{")
    status, error = radgate("rollback")
    assert (status, "choose one with" in error) == (1, True)
    assert radgate("activate", "alpha@1")[0] == 0
    assert packs.active_pack(models).ref.name == "alpha"


def test_the_local_stage_has_a_folder_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("MODEL_DIR", raising=False)
    monkeypatch.setenv("RADGATE_HOME", str(tmp_path))
    install(tmp_path / "models", "alpha", "1")
    assert run(["models", "list"]) == 0
    assert "alpha@1" in capsys.readouterr().out
