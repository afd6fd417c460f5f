"""A process imports from the active tree, by its snapshot and without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path
from typing import Any

import pytest

from chalicelib.runtime.loading import send
from chalicelib.runtime.manifest import TreeRefused
from chalicelib.runtime.snapshot import read_snapshot
from chalicelib.runtime.sync import Sync
from chalicelib.runtime.trees import FILES, SNAPSHOT, Trees
from chalicelib.runtime.trial import Rehearsal
from tests.fakes.runtime import FolderSource, make_tree

ROOT = Path(__file__).parents[3]
OWN = (ROOT, Path(sysconfig.get_path("purelib")))  # our code, and pydantic
PROGRAM = """
import json, sys
from pathlib import Path
from chalicelib.runtime.loading import use_active_tree
before = len(sys.path)
tree = use_active_tree(Path(sys.argv[1]))
told = {"tree": tree}
try:
    import beta, alpha.inner
except ImportError as error:
    told["error"] = str(error)
else:
    loader = type(alpha.inner.__spec__.loader).__name__
    told |= {"word": beta.word, "file": alpha.inner.__file__, "path": list(alpha.__path__)}
    told |= {"loader": loader, "code": alpha.inner.fail.__code__.co_filename}
    told |= {"source": alpha.inner.__spec__.loader.get_source("alpha.inner")[:4]}
    import inspect, os
    asked = []
    for name in ("stat", "lstat"):
        def look(path, *rest, real=getattr(os, name), **named):
            asked.append(str(path))
            return real(path, *rest, **named)
        setattr(os, name, look)
    told |= {"module": inspect.getmodule(alpha.inner.fail.__code__).__name__}
    told |= {"asked": [one for one in asked if one.startswith(sys.argv[1])]}
print(json.dumps(told))
"""


def run(mount: Path, *first: Path) -> dict[str, Any]:
    """Use the mount in a process that has our code, `first` before it, and nothing installed."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM, str(mount)],
        env={"PYTHONPATH": ":".join(map(str, (*first, *OWN)))},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


@pytest.fixture
def mount(tmp_path: Path) -> Trees:
    trees = Trees(tmp_path / "mount")
    made = make_tree(tmp_path)
    trial = Rehearsal(["beta"], lambda: 60.0, OWN)
    sync = Sync(trees, FolderSource(tmp_path / "built"), trial, lambda: 900.0)
    assert sync.handle({"action": "sync", "tree": made.tree})["state"] == "done"
    return trees


def files_of(mount: Trees) -> Path:
    active = mount.active()
    assert active is not None
    return mount.folder(active.tree) / FILES


def test_without_a_tree_there_is_nothing_to_import(tmp_path: Path) -> None:
    assert run(tmp_path) == {"tree": None, "error": "No module named 'beta'"}


def test_modules_come_from_the_snapshot_and_know_where_they_are(mount: Trees) -> None:
    told = run(mount.root)
    files = files_of(mount)
    assert told == {
        "tree": files.parent.name,
        "word": "alpha beta",
        "file": str(files / "alpha" / "inner.py"),
        "path": [str(files / "alpha")],
        "loader": "_SnapshotLoader",
        "code": str(files / "alpha" / "inner.py"),
        "source": "word",
        "module": "alpha.inner",
        # Torch asks for the module of some code. That must not look for every module's file.
        "asked": [str(files / "alpha" / "inner.py")],
    }


def test_a_snapshot_saves_the_reading_of_the_files(mount: Trees) -> None:
    for path in files_of(mount).rglob("*.py"):
        path.write_text("raise AssertionError('read from its file')\n")
    assert run(mount.root)["word"] == "alpha beta"


def test_what_is_read_ahead_is_a_stretch_and_no_more(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    (tmp_path / "library.so").write_bytes(content)
    inlet, outlet = os.pipe()
    sent: list[bytes] = []
    with os.fdopen(inlet, "rb") as pipe, (tmp_path / "library.so").open("rb") as library:
        reader = threading.Thread(target=lambda: sent.append(pipe.read()))
        reader.start()
        send(outlet, library.fileno(), 4096, 500_000)
        send(outlet, library.fileno(), len(content) - 10, 4096)  # shorter than it was
        os.close(outlet)
        reader.join()
    assert sent == [content[4096:504_096] + content[-10:]]


@pytest.mark.parametrize("damage", ["missing", "other python", "cut short", "empty"])
def test_without_a_sound_snapshot_the_files_are_read(mount: Trees, damage: str) -> None:
    path = files_of(mount).parent / SNAPSHOT
    data = path.read_bytes()
    assert read_snapshot(path) is not None
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {
                "other python": data.replace(b"snapshot 1 ", b"snapshot 1 x"),
                "cut short": data[:-1],
                "empty": b"",
            }[damage]
        )
    assert read_snapshot(path) is None
    told = run(mount.root)
    assert (told["word"], told["loader"]) == ("alpha beta", "SourceFileLoader")


def test_what_our_zip_brings_wins(mount: Trees, tmp_path: Path) -> None:
    own = tmp_path / "zip"
    (own / "alpha").mkdir(parents=True)
    (own / "alpha" / "__init__.py").write_text("word = 'own'\n")
    (own / "alpha" / "inner.py").write_text("word = 'own'\n\n\ndef fail(): ...\n")
    told = run(mount.root, own)
    assert told["word"] == "own beta"
    assert told["file"] == str(own / "alpha" / "inner.py")


def test_a_tree_must_work_without_what_is_installed_beside_python(tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text("import pytest\n")
    with pytest.raises(TreeRefused, match=r"does not work here: .*No module named 'pytest'"):
        Rehearsal(["needy"], lambda: 60.0, (ROOT,))(tmp_path, tmp_path, tmp_path / "snapshot")


def test_a_trial_ends_in_time(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(60)\n")
    trial = Rehearsal(["slow"], lambda: 1.0, OWN)
    with pytest.raises(TreeRefused, match="in time"):
        trial(tmp_path, tmp_path, tmp_path / "snapshot")


def test_a_trial_may_crash(tmp_path: Path) -> None:
    (tmp_path / "crash.py").write_text("import os\nos.abort()\n")
    trial = Rehearsal(["crash"], lambda: 60.0, OWN)
    with pytest.raises(TreeRefused, match="does not work here"):
        trial(tmp_path, tmp_path, tmp_path / "snapshot")
