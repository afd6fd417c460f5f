"""The copy that is deployed: what is in it, what changes its digest, and whose packages it gets."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from admin_cli.console import CliError
from admin_cli.deploying import bytecode, lambda_packages, staging
from tests.unit.test_policies import foundation

if TYPE_CHECKING:
    from pathlib import Path

TAG = sys.implementation.cache_tag


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project, and packages that are there already."""
    root = tmp_path / "project"
    (root / "chalicelib" / "inner").mkdir(parents=True)
    (root / ".chalice").mkdir()
    (root / "app.py").write_text("app = 1\n")
    (root / "chalicelib" / "__init__.py").write_text("")
    (root / "chalicelib" / "inner" / "old.py").write_text("old = 1\n")
    functions = {"worker": {"iam_policy_file": "policy-dev-worker.json"}}
    config = {"table": "${TableName}", "stages": {"dev": {"lambda_functions": functions}}}
    (root / ".chalice" / "config.json").write_text(json.dumps(config))
    (root / ".chalice" / "policy-dev-worker.json").write_text('{"Resource": "${TableArn}"}')
    packages = tmp_path / "packages" / "abc"
    packages.mkdir(parents=True)
    (packages / "third.py").write_text("third = 1\n")
    bytecode.compile_modules(packages)
    monkeypatch.setattr(staging, "PROJECT", root)
    monkeypatch.setattr(staging, "lambda_packages", lambda _stage: packages)
    return root


@pytest.fixture
def build(tmp_path: Path) -> Path:
    return tmp_path / "build"


def stage(build: Path) -> str:
    return staging.stage_project("dev", foundation("dev"), build, "/mnt/models")


def test_the_copy_names_the_stage_and_the_checkout_stays_as_it_is(
    project: Path, build: Path
) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    stage(build)
    assert json.loads((build / ".chalice" / "config.json").read_text())["table"] == "radgate-dev"
    assert ":table/radgate-dev" in (build / ".chalice" / "policy-dev-worker.json").read_text()
    assert (build / "vendor" / "third.py").resolve().parent.name == "abc"
    after = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    assert after == before


def test_a_deleted_module_does_not_live_on(project: Path, build: Path) -> None:
    stage(build)
    (project / "chalicelib" / "inner" / "old.py").unlink()
    (project / "chalicelib" / "inner" / "new.py").write_text("")
    stage(build)
    files = [path.name for path in (build / "chalicelib" / "inner").rglob("*") if path.is_file()]
    assert sorted(files) == [f"new.{TAG}.pyc", "new.py"]


def test_what_goes_to_the_top_of_the_zip_is_compiled_too_and_its_sources_come_once(
    project: Path, build: Path, tmp_path: Path
) -> None:
    assert project
    given = tmp_path / "packages"
    before = {path: path.read_bytes() for path in given.rglob("*") if path.is_file()}
    for left in (build / "__pycache__", build / "vendor" / "__pycache__"):
        left.mkdir(parents=True)
        (left / "app.cpython-27.opt-1.pyc").write_bytes(b"of another run")
    for _ in range(2):
        stage(build)
        vendor = build / "vendor"
        files = [path for path in vendor.rglob("*") if path.is_file()]
        assert sorted(path.relative_to(vendor).as_posix() for path in files) == [
            f"__pycache__/app.{TAG}.pyc",
            f"__pycache__/third.{TAG}.pyc",
            f"chalice/__pycache__/__init__.{TAG}.pyc",
            f"chalice/__pycache__/app.{TAG}.pyc",
            "third.py",
        ]
    assert {path: path.read_bytes() for path in given.rglob("*") if path.is_file()} == before


def test_chalice_among_the_packages_is_refused_and_left_as_it_is(
    project: Path, build: Path, tmp_path: Path
) -> None:
    assert project
    package = tmp_path / "packages" / "abc" / "chalice"
    package.mkdir()
    with pytest.raises(CliError, match="chalice is among the packages"):
        stage(build)
    assert list(package.iterdir()) == []


def test_links_of_versions_before_are_replaced_and_what_they_led_to_stays(
    project: Path, build: Path, tmp_path: Path
) -> None:
    assert project
    build.mkdir()
    packages = tmp_path / "packages" / "abc"
    (build / "vendor").symlink_to(packages, target_is_directory=True)
    stage(build)
    assert (packages / "third.py").read_text() == "third = 1\n"
    assert not (packages / "chalice").exists()


def test_a_stage_without_policies_is_refused(project: Path, build: Path) -> None:
    assert project
    with pytest.raises(CliError, match="no policy file for the functions of stage nosuch"):
        staging.stage_project("nosuch", foundation("dev"), build, "/mnt/models")


def test_a_policy_of_before_does_not_live_on(project: Path, build: Path) -> None:
    assert project
    stage(build)
    (build / ".chalice" / "policy-dev-former.json").write_text("{}")
    stage(build)
    names = [path.name for path in (build / ".chalice").glob("policy-*")]
    assert names == ["policy-dev-worker.json"]


def test_chalice_keeps_its_memory_and_its_packages(project: Path, build: Path) -> None:
    assert project
    kept = [build / ".chalice" / "deployed" / "dev.json", build / ".chalice" / "deployments" / "z"]
    for path in kept:
        path.parent.mkdir(parents=True)
        path.write_text("kept")
    stage(build)
    assert [path.read_text() for path in kept] == ["kept", "kept"]


@pytest.mark.parametrize(
    "name",
    [
        "app.py",
        "chalicelib/inner/old.py",
        ".chalice/config.json",
        ".chalice/policy-dev-worker.json",
    ],
)
def test_the_digest_follows_everything_that_is_deployed(
    project: Path, build: Path, name: str
) -> None:
    before = stage(build)
    assert stage(build) == before
    path = project / name
    text = path.read_text()
    path.write_text(text.replace("{", '{"added": 1, ', 1) if name.endswith("json") else f"{text}\n")
    assert stage(build) != before


def test_the_digest_follows_a_rename(project: Path, build: Path) -> None:
    before = stage(build)
    inner = project / "chalicelib" / "inner"
    (inner / "old.py").rename(inner / "renamed.py")
    assert stage(build) != before


def test_the_digest_follows_how_modules_are_compiled(
    project: Path, build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert project
    before = stage(build)
    monkeypatch.setattr(staging, "RECIPE", "another")
    assert stage(build) != before


def test_the_digest_ignores_compiled_files(project: Path, build: Path) -> None:
    before = stage(build)
    cache = project / "chalicelib" / "__pycache__"
    cache.mkdir()
    (cache / "x.pyc").write_bytes(b"1")
    assert stage(build) == before


def test_a_stage_on_aws_is_refused_where_lambda_could_not_load_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lambda_packages, "OLDEST_ON_AWS", (sys.version_info[0] + 1, 0))
    with pytest.raises(CliError, match=r"stage prod needs Python 3\.12"):
        lambda_packages.lambda_packages("prod")


def test_packages_for_lambda_are_never_built_here() -> None:
    options = lambda_packages.lambda_target(3, 12)
    assert "--only-binary=:all:" in options
    assert "--python-version=3.12" in options
    assert "--platform=manylinux_2_34_x86_64" in options
    assert not any("manylinux_2_35" in option for option in options)


def test_packages_are_installed_once_and_a_failure_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    outcome = [1, 0, 0]

    def pip(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return subprocess.CompletedProcess(command, outcome.pop(0), "", "a\nERROR: no such wheel\n")

    monkeypatch.setattr(lambda_packages, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(CliError, match="could not be installed: ERROR: no such wheel"):
        lambda_packages.lambda_packages("local")
    assert list((tmp_path / "cache").iterdir()) == []
    folder = lambda_packages.lambda_packages("local")
    assert lambda_packages.lambda_packages("local") == folder
    assert len(calls) == 3
    assert all("--constraint" in call for call in calls)
    # What Lambda's runtime has is not brought along.
    assert {"--no-deps", "aws-xray-sdk", "wrapt"} <= set(calls[2])
    assert not any("boto" in part for call in calls for part in call)
