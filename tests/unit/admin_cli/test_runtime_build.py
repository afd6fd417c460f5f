"""The same wheels make the same tree, and only what programs need gets into it."""

from __future__ import annotations

import os
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_cli.console import CliError
from admin_cli.runtime import wheels as runtime_wheels
from admin_cli.runtime.build import build, plan
from admin_cli.runtime.files import kept, placed
from admin_cli.runtime.wheels import Closure, Wheelhouse, native, on_lambda
from chalicelib.runtime.manifest import File, read_manifest
from tests.fakes.runtime import ALPHA, BETA, PART_BYTES, make_tree, make_wheel

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("torch/__init__.py", True),
        ("torch/lib/libtorch_cpu.so", True),
        ("torch/testing/__init__.py", True),
        ("torch/bin/torch_shm_manager", True),
        ("torch/bin/protoc", False),
        ("torch/include/ATen/ATen.h", False),
        ("torch/_C/__init__.pyi", False),
        ("torch/lib/libjitbackend_test.so", False),
        ("numpy/_core/tests/test_umath.py", False),
        ("numpy.libs/libscipy_openblas64_.so", True),
        ("sympy/core/__pycache__/add.cpython-312.pyc", False),
        ("numpy-2.4.6.dist-info/RECORD", False),
        ("numpy-2.4.6.dist-info/METADATA", True),
        ("numpy-2.4.6.dist-info/licenses/numpy/tests/LICENSE.txt", True),
        ("torch/include/LICENSE", True),
        ("pydicom/data/test_files/a.dcm", False),
    ],
)
def test_what_stays(path: str, wanted: object) -> None:
    assert kept(path) is wanted


def test_where_a_wheels_data_goes() -> None:
    assert placed("a-1.data/platlib/a/b.so") == "a/b.so"
    assert placed("a-1.data/scripts/run") is None
    assert placed("a/b.py") == "a/b.py"


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    """Whatever the order in the wheel, its dates, the folder, and the modes' other bits."""
    one = make_tree(tmp_path / "one")
    home = tmp_path / "two"
    home.mkdir()
    shuffled = make_wheel(home, "alpha", dict(reversed(ALPHA.items())))
    for path in (shuffled.path,):
        os.utime(path, (1, 1))
    os.umask(os.umask(0o077))
    closure = Closure((shuffled, make_wheel(home, "beta", BETA)), ())
    two = build(closure, native(), home / "built", part_bytes=PART_BYTES)
    assert one == two
    first, second = tmp_path / "one" / "built" / one.tree, home / "built" / two.tree
    names = sorted(path.name for path in first.iterdir())
    assert len(names) == one.parts + 2
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_another_byte_makes_another_tree(tmp_path: Path) -> None:
    assert make_tree(tmp_path, "one").tree != make_tree(tmp_path, "two").tree


def test_the_report_counts_what_is_in_the_tree(tmp_path: Path) -> None:
    made = make_tree(tmp_path)
    manifest = read_manifest(
        (tmp_path / "built" / made.tree / "manifest.json").read_bytes(), made.tree
    )
    assert sum(one.bytes for one in made.packages) == made.bytes == manifest.size
    assert sum(one.files for one in made.packages) == made.files == len(manifest.files)
    assert made.packed_bytes == sum(
        path.stat().st_size for path in (tmp_path / "built" / made.tree).glob("part-*.gz")
    )
    assert not any(file.path.endswith("RECORD") for file in manifest.files)


def test_two_packages_do_not_share_a_file(tmp_path: Path) -> None:
    wheels = make_wheel(tmp_path, "alpha", ALPHA), make_wheel(tmp_path, "gamma", ALPHA)
    with pytest.raises(CliError, match="both bring alpha"):
        build(Closure(wheels, ()), native(), tmp_path / "built")
    assert list((tmp_path / "built").iterdir()) == []


def test_a_wheel_with_a_link_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "alpha", ALPHA)
    with zipfile.ZipFile(wheel.path, "a") as archive:
        link = zipfile.ZipInfo("alpha/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(CliError, match="is a link"):
        build(Closure((wheel,), ()), native(), tmp_path / "built")


@pytest.mark.parametrize("path", ["../outside.py", "/outside.py", "alpha/../../outside.py"])
def test_a_wheel_that_leads_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    wheel = make_wheel(tmp_path, "alpha", {path: b"1"})
    with pytest.raises(CliError, match="leads elsewhere"):
        build(Closure((wheel,), ()), native(), tmp_path / "built")
    assert list((tmp_path / "built").iterdir()) == []


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20), st.integers(1, 20))
def test_parts_are_full_and_make_every_file(sizes: list[int], part: int) -> None:
    files = [
        File(path=f"{n:03d}", mode=0o644, bytes=size, sha256="a" * 64)
        for n, size in enumerate(sizes)
    ]
    parts = list(plan(files, part))
    totals = [sum(piece.bytes for piece in pieces) for pieces in parts]
    assert all(total == part for total in totals[:-1])
    assert sum(totals) == sum(sizes)
    filled = [0] * len(files)
    for pieces in parts:
        for piece in pieces:
            assert piece.offset == filled[piece.file]
            filled[piece.file] += piece.bytes
    assert filled == sizes
    assert {piece.file for pieces in parts for piece in pieces} == set(range(len(files)))


def test_requirements_are_followed_as_far_as_constraints_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through pip itself, which finds the wheels in a folder."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    make_wheel(wheels, "alpha", ALPHA, needs="setuptools>=77")
    make_wheel(wheels, "beta", BETA, needs="alpha>=1")
    make_wheel(wheels, "gamma", {"gamma.py": b""}, needs="alpha ; python_version < '3'")
    (tmp_path / "wanted.txt").write_text("beta==1.0  # why\ngamma==1.0\n")
    (tmp_path / "constraints.txt").write_text("alpha==1.0\nbeta==1.0\n")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    house = Wheelhouse(native(), tmp_path / "cache", [], lambda _: None)
    closure = house.fetch(tmp_path / "wanted.txt", tmp_path / "constraints.txt")
    assert [(one.name, one.version) for one in closure.wheels] == [
        ("alpha", "1.0"),
        ("beta", "1.0"),
        ("gamma", "1.0"),
    ]
    assert closure.left_out == ("setuptools",)


def test_a_build_for_graphics_cards_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    make_wheel(wheels, "alpha", ALPHA, needs="nvidia-cudnn-cu13==9")
    (tmp_path / "wanted.txt").write_text("alpha==1.0\n")
    (tmp_path / "constraints.txt").write_text("")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setattr(runtime_wheels, "CPU_INDEX", empty.as_uri())
    told: list[str] = []
    house = Wheelhouse(native(), tmp_path / "cache", [], told.append)
    with pytest.raises(CliError, match="needs CUDA: name an index"):
        house.fetch(tmp_path / "wanted.txt", tmp_path / "constraints.txt")
    assert "asking file:" in told[-1]


def test_a_requirement_without_a_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wanted.txt").write_text("alpha>=1\n")
    (tmp_path / "constraints.txt").write_text("")
    house = Wheelhouse(native(), tmp_path, [], lambda _: None)
    with pytest.raises(CliError, match="alpha needs a version"):
        house.fetch(tmp_path / "wanted.txt", tmp_path / "constraints.txt")


def test_lambdas_older_pythons_are_refused() -> None:
    with pytest.raises(CliError, match=r"before 3\.12"):
        on_lambda("3.11")
    with pytest.raises(CliError, match=r"written like 3\.12"):
        on_lambda("new")
    assert on_lambda("3.13").environment["python_version"] == "3.13"
    assert runtime_wheels.deployed_python() >= "3.12"
    assert native().python == f"{sys.version_info[0]}.{sys.version_info[1]}"
