"""A tree comes onto the mount whole or not at all, whatever ends the work and whatever comes in."""

from __future__ import annotations

import json
import os
import zlib
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.runtime.sync import Sync
from chalicelib.runtime.trees import FILES, Trees
from tests.fakes.runtime import ALPHA, EasyTrial, FolderSource, make_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from admin_cli.runtime.build import Build


class Killed(BaseException):
    """Stands for a process that ends here: no handler of the code under test may catch it."""


class Fuse:
    """Lets so many calls through and then ends the process."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def burn(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1


class Fused:
    """A collaborator whose every call burns the fuse, before it and after it."""

    def __init__(self, target: Any, fuse: Fuse) -> None:
        self._target = target
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not callable(value):
            return value

        def call(*args: Any, **named: Any) -> Any:
            self._fuse.burn()
            result = value(*args, **named)
            self._fuse.burn()
            return result

        return call

    def __call__(self, *args: Any) -> None:
        self._fuse.burn()
        self._target(*args)
        self._fuse.burn()


class Mount:
    """A mount with an old tree that serves, and a new one that waits to come."""

    def __init__(self, folder: Path) -> None:
        self.old, self.new = make_tree(folder, "older"), make_tree(folder, "newer")
        self.source = FolderSource(folder / "built")
        self.trees = Trees(folder / "mount")
        assert self.sync(self.old)["state"] == "done"

    def sync(
        self,
        build: Build,
        *,
        seconds: Callable[[], float] = lambda: 900.0,
        trial: EasyTrial | None = None,
        fuse: Fuse | None = None,
    ) -> dict[str, Any]:
        trees: Any = self.trees
        source: Any = self.source
        tried: Any = trial or EasyTrial()
        if fuse is not None:
            trees, source, tried = Fused(trees, fuse), Fused(source, fuse), Fused(tried, fuse)
        work = Sync(trees, source, tried, seconds, (lambda _: fuse.burn()) if fuse else None)
        return work.handle({"action": "sync", "tree": build.tree})

    def part(self, number: int) -> Path:
        return self.source.folder / self.new.tree / f"part-{number:04d}.gz"

    def incoming(self, path: str = "") -> Path:
        return self.trees.incoming(self.new.tree) / FILES / path

    @property
    def serving(self) -> str | None:
        active = self.trees.active()
        return active.tree if active else None

    def is_whole(self, build: Build) -> bool:
        files = self.trees.folder(build.tree) / FILES
        return all(
            sha256((files / file.path).read_bytes()).hexdigest() == file.sha256
            and (files / file.path).stat().st_mode & 0o777 == file.mode
            for file in self.trees.manifest(build.tree).files
        )


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    return Mount(tmp_path)


def test_a_tree_is_unpacked_checked_and_serves(mount: Mount) -> None:
    answer = mount.sync(mount.new)
    assert answer["state"] == "done"
    assert (answer["active"], answer["previous"]) == (mount.new.tree, mount.old.tree)
    assert mount.is_whole(mount.new)
    inner = mount.trees.folder(mount.new.tree) / FILES / "alpha" / "inner.py"
    assert inner.read_bytes() == ALPHA["alpha/inner.py"].replace(b"alpha", b"newer")
    assert mount.new.parts >= 3, "the tree must be cut for the other tests to mean something"


def test_a_second_run_finds_nothing_to_do(mount: Mount) -> None:
    mount.sync(mount.new)
    mount.source.asked.clear()
    assert mount.sync(mount.new)["previous"] == mount.old.tree
    assert mount.source.asked == []


def test_a_kill_at_any_call_harms_nobody_and_the_next_run_goes_on(mount: Mount) -> None:
    """Runs are killed at their first call, at their second, and so on, until one gets through."""
    for calls in range(1_000):
        try:
            answer = mount.sync(mount.new, fuse=Fuse(calls))
        except Killed:
            assert mount.serving in {mount.old.tree, mount.new.tree}
            assert mount.is_whole(mount.old)
            assert mount.new.tree not in mount.trees.installed() or mount.is_whole(mount.new)
            assert mount.serving == mount.old.tree or mount.is_whole(mount.new)
            continue
        assert answer["state"] == "done"
        break
    assert calls > 20
    assert mount.is_whole(mount.new)
    # No part was fetched again once it was noted down: at most once more for the kill after it.
    assert all(mount.source.asked.count(n) <= 4 for n in range(mount.new.parts))


@pytest.mark.parametrize("calls", range(0, 60, 3))
def test_a_kill_and_one_more_run_make_a_whole_tree(mount: Mount, calls: int) -> None:
    try:
        mount.sync(mount.new, fuse=Fuse(calls))
    except Killed:
        assert mount.sync(mount.new)["state"] == "done"
    assert mount.is_whole(mount.new)
    assert mount.serving == mount.new.tree


def test_the_time_is_kept_and_each_call_gets_further(mount: Mount) -> None:
    reached = []
    for _ in range(100):
        left = iter([60.0, 60.0, 0.0])  # enough for the first step of a call, or the second
        answer = mount.sync(mount.new, seconds=lambda left=left: next(left))  # type: ignore[misc]
        if answer["state"] == "done":
            break
        reached.append((answer["stage"], answer["done"]))
        if answer["stage"] == "try":  # needs more than 60 s
            assert mount.sync(mount.new)["state"] == "done"
            break
    assert len(reached) == len(set(reached)) > 1
    assert mount.source.asked.count(0) == 2, "once for each of the two trees"


def cut_short(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-10])


def other_bytes(part: Path) -> None:
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)


def missing(part: Path) -> None:
    part.unlink()


@pytest.mark.parametrize("spoil", [cut_short, other_bytes, missing])
@pytest.mark.parametrize("number", [1, 3])
def test_a_spoilt_part_is_refused_and_the_old_tree_serves(
    mount: Mount, spoil: Callable[[Path], None], number: int
) -> None:
    before = mount.part(number).read_bytes()
    spoil(mount.part(number))
    assert mount.sync(mount.new)["state"] == "refused"
    assert mount.serving == mount.old.tree
    assert mount.is_whole(mount.old)
    assert mount.trees.installed() == [mount.old.tree]
    mount.part(number).write_bytes(before)
    assert mount.sync(mount.new)["state"] == "done"


def repacked(mount: Mount, content: Callable[[bytes], bytes], tail: bytes = b"") -> None:
    """Put other content into the first part, with a manifest that agrees with its hash."""
    path = mount.source.folder / mount.new.tree / "manifest.json"
    document = json.loads(path.read_bytes())
    packer = zlib.compressobj(wbits=31)
    plain = zlib.decompress(mount.part(1).read_bytes(), wbits=31)
    data = packer.compress(content(plain)) + packer.flush() + tail
    mount.part(1).write_bytes(data)
    document["parts"][0] |= {"bytes": len(data), "sha256": sha256(data).hexdigest()}
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("content", "tail"),
    [
        (lambda plain: plain + b"x", b""),
        (lambda plain: plain[:-1], b""),
        (lambda _plain: bytes(500 * 1024 * 1024), b""),
        (lambda plain: plain, b"more"),
    ],
    ids=["longer", "shorter", "bomb", "tail"],
)
def test_a_part_that_unpacks_to_something_else_is_refused(
    mount: Mount, content: Callable[[bytes], bytes], tail: bytes
) -> None:
    repacked(mount, content, tail)
    answer = mount.sync(mount.new)
    assert (answer["state"], answer["detail"][:6]) == ("refused", "part 1")
    assert mount.serving == mount.old.tree


def test_a_manifest_cannot_change_what_a_file_is(mount: Mount) -> None:
    """Its parts' hashes are its own word, the files' hashes are in the tree's name."""
    repacked(mount, lambda plain: bytes(len(plain)))
    answer = mount.sync(mount.new)
    assert answer["state"] == "refused"
    assert "is not what the manifest promises" in answer["detail"]
    assert mount.trees.installed() == [mount.old.tree]


def stop_before(mount: Mount, stage: str) -> None:
    answer: dict[str, Any] = {}
    for number in range(200):
        calls = iter([60.0] * number + [0.0] * 100)
        answer = mount.sync(mount.new, seconds=lambda calls=calls: next(calls))  # type: ignore[misc]
        if answer["stage"] == stage:
            return
    raise AssertionError(answer)


def link(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/etc/hostname")


def hard_link(path: Path) -> None:
    path.unlink(missing_ok=True)
    other = path.parents[4] / "outside"
    other.write_bytes(b"not ours")
    os.link(other, path)


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def linked_folder(path: Path) -> None:
    outside = path.parents[4] / "outside"
    outside.mkdir()
    path.parent.rename(outside / "moved")
    path.parent.symlink_to(outside / "moved")


def stranger(path: Path) -> None:
    path.with_name("stranger.py").write_bytes(b"")


def linked_stranger(path: Path) -> None:
    path.with_name("stranger").symlink_to("/etc")


def lost(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    "plant", [link, hard_link, pipe, linked_folder, stranger, linked_stranger, lost]
)
def test_what_was_planted_on_the_mount_is_refused(
    mount: Mount, plant: Callable[[Path], None]
) -> None:
    stop_before(mount, "verify")
    plant(mount.incoming("alpha/inner.py"))
    assert mount.sync(mount.new)["state"] == "refused"
    assert mount.serving == mount.old.tree
    assert Path("/etc/hostname").is_file()
    assert mount.sync(mount.new)["state"] == "done"


@pytest.mark.parametrize("plant", [link, hard_link, pipe])
def test_nothing_is_written_through_what_was_planted(
    mount: Mount, plant: Callable[[Path], None]
) -> None:
    path = mount.incoming("alpha/__init__.py")
    path.parent.mkdir(parents=True)
    plant(path)
    assert mount.sync(mount.new)["state"] == "refused"
    outside = path.parents[4] / "outside"
    assert not outside.exists() or outside.read_bytes() == b"not ours"


def test_a_damaged_journal_costs_time_only(mount: Mount) -> None:
    stop_before(mount, "verify")
    (mount.trees.incoming(mount.new.tree) / "journal.json").write_bytes(b'{"parts": 99')
    assert mount.sync(mount.new)["state"] == "done"


def test_a_journal_that_promises_too_much_is_found_out(mount: Mount) -> None:
    stop_before(mount, "verify")
    mount.incoming("alpha/inner.py").write_bytes(b"")
    assert mount.sync(mount.new)["state"] == "refused"
    assert mount.sync(mount.new)["state"] == "done"


def test_a_tree_that_does_not_work_here_never_serves(mount: Mount) -> None:
    answer = mount.sync(mount.new, trial=EasyTrial("no such library"))
    assert answer == {"state": "refused", "detail": "no such library"}
    assert mount.trees.installed() == [mount.old.tree]
    assert mount.serving == mount.old.tree
