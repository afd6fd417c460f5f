"""The function starts from its zip and a tree on the mount alone, as it does on Lambda."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import boto3
import httpx
import pytest
from pydicom.data import get_testdata_file

from admin_cli.runtime.build import REPORT
from admin_cli.runtime.cached import cached_tree, target_of
from chalicelib.runtime.manifest import File, Part, Piece, read_manifest
from chalicelib.runtime.trees import MANIFEST
from tests.fakes.gateway import FakeGateway
from tests.fakes.runtime import ALPHA, BETA, make_wheel
from tests.fakes.runtime_api import RuntimeApi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.conftest import Stack

# What Lambda's own runtime brings: the client of the Runtime API, and boto3 with what it needs.
PROVIDED = (
    "awslambdaric",
    "runtime_client",
    "simplejson",
    "snapshot_restore_py",
    "boto3",
    "botocore",
    "s3transfer",
    "jmespath",
    "urllib3",
    "dateutil",
    "six",
)


@dataclass(frozen=True)
class Function:
    """A process that runs the function, and the way to call it."""

    gateway: FakeGateway
    pid: int

    def loaded(self) -> set[str]:
        """Return the shared libraries and extensions that the process has mapped."""
        maps = Path(f"/proc/{self.pid}/maps").read_text(encoding="utf-8").splitlines()
        return {line.split()[-1] for line in maps if ".so" in line}


def provided(folder: Path) -> Path:
    """Make a folder that stands for /var/runtime."""
    for name in PROVIDED:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        source = origin.parent if spec.submodule_search_locations else origin
        (folder / source.name).symlink_to(source)
    return folder


@contextmanager
def function(stack: Stack, folder: Path) -> Iterator[Function]:
    """Run the deployed zip's handler with awslambdaric, as Lambda does."""
    [package] = (stack.radgate.home / "build" / "local" / ".chalice" / "deployments").glob("*.zip")
    task, runtime = folder / "task", folder / "runtime"
    runtime.mkdir()
    with zipfile.ZipFile(package) as archive:
        archive.extractall(task)
    operator = boto3.session.Session("test", "test", region_name="eu-central-1")
    functions = operator.client("lambda", endpoint_url=stack.aws_url)
    deployed = functions.get_function_configuration(FunctionName="radgate-local")
    granted = operator.client("sts", endpoint_url=stack.aws_url).assume_role(
        RoleArn=deployed["Role"], RoleSessionName="radgate-local"
    )["Credentials"]
    with RuntimeApi() as api:
        environment = {
            **deployed["Environment"]["Variables"],
            "AWS_ACCESS_KEY_ID": granted["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": granted["SecretAccessKey"],
            "AWS_SESSION_TOKEN": granted["SessionToken"],
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL": stack.aws_url,
            "AWS_LAMBDA_RUNTIME_API": api.address,
            "AWS_LAMBDA_FUNCTION_NAME": "radgate-local",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3008",
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{task}:{provided(runtime)}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        process = subprocess.Popen(
            [sys.executable, "-S", "-m", "awslambdaric", "app.app"], cwd=task, env=environment
        )
        try:

            def call(event: dict[str, Any], _context: object) -> Any:
                return api.invoke(event, lambda: process.poll() is None)

            yield Function(FakeGateway(cast("Any", call), stack.api_key), process.pid)
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def tree(stack: Stack) -> str:
    """The tree of requirements-efs.txt where `runtime sync` looks, built once for all test runs."""

    @contextmanager
    def no_bar(_title: str, _total: float) -> Iterator[Callable[[float], None]]:
        yield lambda _step: None

    name, folder = cached_tree(target_of("local"), lambda _text: None, no_bar)
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    assert {one["name"] for one in report["packages"]} >= {"torch", "numpy", "pydicom"}
    built = stack.radgate.home / "runtime"
    built.mkdir(exist_ok=True)
    (built / name).symlink_to(folder)
    return name


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_zip_and_the_tree_are_all_it_takes(stack: Stack, tree: str, tmp_path: Path) -> None:
    with function(stack, tmp_path) as bare:
        answer = bare.gateway.get("/ready")
        assert (answer.status, answer.json()["code"]) == (503, "model_unavailable")
    synced = stack.radgate.json("runtime", "sync", tree, timeout=900)
    assert synced["active"] == tree
    chest = get_testdata_file("RG1_J2KI.dcm", download=False)
    assert isinstance(chest, str)
    again = tmp_path / "again"
    again.mkdir()
    with function(stack, again) as lambda_:
        ready = lambda_.gateway.get("/ready")
        assert (ready.status, ready.json()["status"]) == (200, "ready")
        answer = lambda_.gateway.call("POST", "/xray", body=Path(chest).read_bytes())
        assert answer.status == 200, answer.body
        assert answer.json()["status"] == "succeeded"
        torch = [path for path in lambda_.loaded() if "/torch/lib/libtorch_cpu" in path]
        assert [tree in path for path in torch] == [True]
        installed = {path for path in lambda_.loaded() if "/site-packages/" in path}
        ours = {p for p in installed if not p.partition("/site-packages/")[2].startswith(PROVIDED)}
        assert ours == set(), "installed beside Python, where Lambda has nothing"


def twin(stack: Stack, tree: str) -> str:
    """Put another tree onto the mount that has one file more, and shares the others; name it."""
    root = stack.radgate.home / "models" / ".runtime"
    found = read_manifest((root / tree / MANIFEST).read_bytes(), tree)
    digest = hashlib.sha256(b"twin").hexdigest()
    file = File(path="zz_twin.txt", mode=0o644, bytes=4, sha256=digest)
    piece = Piece(file=len(found.files), offset=0, bytes=4)
    part = Part(bytes=1, sha256=digest, pieces=(piece,))
    parts = (*found.parts, part)
    whole = found.model_copy(update={"files": (*found.files, file), "parts": parts})
    shutil.copytree(root / tree, root / whole.tree, copy_function=os.link)
    (root / whole.tree / MANIFEST).unlink()
    (root / whole.tree / MANIFEST).write_text(whole.model_dump_json(), encoding="utf-8")
    return whole.tree


def trees_in_use(stack: Stack) -> set[str]:
    """Return the trees that processes of this stack's functions have loaded torch from."""
    root = f"{stack.radgate.home}/models/.runtime/"
    found: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):  # it has ended, or is somebody else's
            lines = maps.read_text(encoding="utf-8").splitlines()
            places = (line.partition(root)[2] for line in lines if "/libtorch_cpu" in line)
            found |= {place.partition("/")[0] for place in places if place}
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_processes_with_the_tree_before_end_at_each_switch(stack: Stack, tree: str) -> None:
    """As the functions' configuration names the tree, the local AWS replaces them, as AWS does."""
    assert stack.radgate.json("runtime", "sync", tree, timeout=900)["active"] == tree
    other = twin(stack, tree)
    for before, command in ((tree, ("activate", other)), (other, ("rollback",))):
        ready = httpx.get(f"{stack.api_url}/ready", timeout=300)
        assert ready.status_code == 200
        assert trees_in_use(stack) == {before}
        switched = stack.radgate.run("runtime", *command)
        assert switched.returncode == 0, switched.stderr
        told = [line for line in switched.stderr.splitlines() if "begins anew" in line]
        assert len(told) == 2, "the API's function and the worker"
        assert trees_in_use(stack) == set(), "a process that began with the tree before is left"
    again = stack.radgate.run("runtime", "activate", tree)
    assert "begins anew" not in again.stderr


def test_trees_come_and_go_by_the_command_line(stack: Stack, tmp_path: Path) -> None:
    """Small trees, through the real function: one that works nowhere, since it has no torch."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    make_wheel(wheels, "alpha", ALPHA)
    make_wheel(wheels, "beta", BETA, needs="alpha")
    (tmp_path / "small.txt").write_text("alpha==1.0\nbeta==1.0\n")
    environment = stack.radgate.environment()
    environment |= {"PIP_FIND_LINKS": str(wheels), "PIP_NO_INDEX": "1"}
    build = ("--output", "json", "runtime", "build", "--requirements", str(tmp_path / "small.txt"))
    subprocess.run(stack.radgate.command(*build), env=environment, check=True, capture_output=True)
    uploaded = stack.radgate.json("runtime", "upload")
    assert uploaded["sent"] == uploaded["parts"] == 1
    assert stack.radgate.json("runtime", "upload")["sent"] == 0
    before = stack.radgate.json("runtime", "list")
    refused = stack.radgate.run("runtime", "sync")
    assert refused.returncode == 1
    assert "the tree does not work here: ModuleNotFoundError" in refused.stderr
    assert stack.radgate.json("runtime", "list") == before
    unknown = stack.radgate.run("runtime", "activate", "ffffff")
    assert (unknown.returncode, unknown.stdout) == (1, "")
