"""`radgate models` on a deployed stage: the same commands, carried out by `efs_sync`."""

from __future__ import annotations

import json
import shutil
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from admin_cli.__main__ import run
from admin_cli.deploying.deployment_record import Deployment, write_deployment
from admin_cli.foundation import TEMPLATE, apply_foundation, stack_inputs, stack_name
from chalicelib.errors import ModelUnavailable
from chalicelib.inference import packs
from chalicelib.inference.manifest import WEIGHTS
from chalicelib.inference.model import load
from chalicelib.inference.shelf import PackFolder
from chalicelib.runtime.manifest import TreeRefused
from chalicelib.runtime.store import S3Source
from chalicelib.runtime.sync import Sync
from chalicelib.runtime.trees import Trees
from tests.fakes.runtime import EasyTrial
from tests.fresh import forget_everything
from tests.integration.admin_cli.conftest import make_api
from tests.unit.inference.packmaking import install, manifest_of, write_pack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse")  # what moto leaves out
TIMED_OUT = {"errorMessage": "2026-11-22 Task timed out after 900.00 seconds"}
BROKEN = {"errorType": "OSError", "errorMessage": "secret"}


def golden(files: Path, home: Path, snapshot: Path) -> None:
    """The golden answer, in this process: importing torch for each takes longer than all else.

    `test_models.py` has it given in a process of its own, as the commands do.
    """
    del home, snapshot
    try:
        load(packs.verify_pack(files)).prove()
    except ModelUnavailable as error:
        raise TreeRefused(error.detail) from error


@dataclass
class EfsSync:
    """The function's own code over a folder; what `failures` has for an action comes first.

    `old`: whether it does not yet tell which pack was before.
    """

    mount: Path
    bucket: str
    failures: dict[str, deque[dict[str, Any]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    there: bool = True
    old: bool = False

    def handle(self, event: dict[str, Any]) -> dict[str, Any]:
        sync = Sync(
            Trees(self.mount / ".runtime"),
            S3Source(boto3.client("s3"), self.bucket),
            EasyTrial(),
            lambda: 900.0,
            models=PackFolder(self.mount, lambda pack: golden(pack, pack, pack)),
            proof=golden,
        )
        answer = sync.handle(event)
        return {name: told for name, told in answer.items() if name != "previous" or not self.old}

    def answer(self, http: BaseHTTPRequestHandler) -> None:
        """Answer as Lambda's Invoke does."""
        event = json.loads(http.rfile.read(int(http.headers["Content-Length"])))
        action = event["action"]
        self.asked.append(action)
        failures = self.failures.get(action)
        status, headers = 200, {}
        if not self.there or http.path.split("/")[-2] != "radgate-dev-efs_sync":
            status, headers["x-amzn-ErrorType"] = 404, "ResourceNotFoundException"
            body: dict[str, Any] = {"Message": "Function not found"}
        elif failures:
            headers["X-Amz-Function-Error"], body = "Unhandled", failures.popleft()
        else:
            body = self.handle(event)
        data = json.dumps(body).encode()
        http.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            http.send_header(name, value)
        http.end_headers()
        http.wfile.write(data)


@dataclass
class Radgate:
    """Runs `radgate models …` on stage `dev`, whose function is `function`."""

    function: EfsSync
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> tuple[int, Any, str]:
        """Return the status, the JSON of stdout where all went well, and stderr."""
        self.capsys.readouterr()
        status = run(["--stage", "dev", "--output", "json", *words])
        out, err = self.capsys.readouterr()
        return status, (json.loads(out) if status == 0 else None), err

    def models(self, *words: str) -> Any:
        status, answer, err = self("models", *words)
        assert status == 0, err
        return answer

    def refused(self, *words: str) -> str:
        status, _, err = self("models", *words)
        assert status == 1
        return err.strip().splitlines()[-1]

    def audited(self) -> list[dict[str, Any]]:
        """Return the entries of the audit trail, oldest first, once its chain was checked."""
        assert self("audit", "verify")[0] == 0
        return list(self("audit", "log")[1])[::-1]

    @property
    def active(self) -> str:
        return packs.active_pack(self.function.mount).path.name


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("RADGATE_HOME", str(tmp_path / "home"))
    for name in ("AWS_ENDPOINT_URL", "MODEL_DIR"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        forget_everything()
        yield
    forget_everything()


@pytest.fixture
def radgate(
    account: None,  # noqa: ARG001 - first of all
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Iterator[Radgate]:
    foundation = apply_foundation("dev")
    _, api = make_api()
    deployment = Deployment(api, "v1", "https://api.example", "", "", "", "")
    write_deployment(foundation.TableName, deployment)
    function = EfsSync(tmp_path / "mount", foundation.BucketName)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            function.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{server.server_port}")
        yield Radgate(function, capsys)
        server.shutdown()
        thread.join()


def test_the_life_of_two_packs(radgate: Radgate, tmp_path: Path) -> None:
    """Install, list, verify, switch, go back: told as it is of a folder, and noted."""
    first, second = (install(tmp_path, "alpha", number, int(number)) for number in ("1", "2"))
    assert radgate.models("list") == []
    answer = radgate.models("install", str(first))
    assert (answer["installed"], answer["model_dir"]) == (True, None)
    assert answer["sha256"] == packs.load_manifest(first).ref.sha256
    assert radgate.models("install", str(first))["installed"] is False
    assert radgate.models("install", str(second))["installed"] is True
    assert radgate.active == "alpha-1"
    listed = radgate.models("list")
    assert [(row["version"], row["active"]) for row in listed] == [("1", True), ("2", False)]
    assert listed == radgate.models("list", "--model-dir", str(radgate.function.mount))
    assert [row["sound"] for row in radgate.models("verify")] == [True, True]

    activated = radgate.models("activate", "alpha@2")
    assert (activated["version"], activated["active"], radgate.active) == ("2", True, "alpha-2")
    radgate.models("activate", "alpha@2")
    back = radgate.models("rollback")
    assert (back["version"], radgate.active) == ("1", "alpha-1")
    told = [(one["action"], one["subject"]) for one in radgate.audited()]
    brought = [("model.install", "alpha@1"), ("model.install", "alpha@2")]
    assert told == [*brought, ("model.activate", "alpha@2"), ("model.rollback", "alpha@1")]
    assert radgate.audited()[1]["after"]["sha256"] == packs.load_manifest(second).ref.sha256


def test_what_went_bad_is_told_and_neither_switched_nor_noted(
    radgate: Radgate, tmp_path: Path
) -> None:
    mount = radgate.function.mount
    for number in (1, 2):
        install(mount, "alpha", str(number), number)
    packs.activate(mount, "alpha", "1")
    data = bytearray((mount / "alpha-2" / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (mount / "alpha-2" / WEIGHTS).write_bytes(data)
    assert "is not the file of the manifest" in radgate.refused("activate", "alpha@2")
    assert radgate.refused("verify") == "radgate: not sound: alpha@2"
    assert [row["sound"] for row in radgate.models("verify", "alpha@1")] == [True]
    assert (radgate.active, radgate.audited()) == ("alpha-1", [])
    # Installing it again repairs it.
    repaired = radgate.models("install", str(install(tmp_path, "alpha", "2", 2)))
    assert repaired["installed"] is True
    (mount / "alpha-2" / "manifest.json").write_text("{")
    assert radgate.models("list")[1]["folder"] == "alpha-2"
    assert "manifest" in radgate.models("list")[1]["error"]


def test_a_pack_with_another_golden_answer_stays_outside(radgate: Radgate, tmp_path: Path) -> None:
    manifest = manifest_of("alpha", "1", 0)
    manifest["golden"]["probabilities"] = [0.99]
    pack = write_pack(tmp_path, manifest)
    assert "golden input: Cardiomegaly is" in radgate.refused("install", str(pack))
    assert not (radgate.function.mount / "alpha-1").exists()
    # Put there by other means, it cannot be activated either.
    shutil.copytree(pack, radgate.function.mount / "alpha-1")
    assert "golden input" in radgate.refused("activate", "alpha@1")
    assert "activate_model" not in radgate.function.asked
    # The function alone can try it out there, so both are noted: the order and its refusal.
    ordered, refused = radgate.audited()
    assert (ordered["action"], refused["action"]) == ("model.install", "model.install")
    assert (ordered["after"], refused["after"]) == (refused["before"], None)


def test_the_entry_comes_before_the_switch_and_another_run_completes_it(radgate: Radgate) -> None:
    for number in (1, 2):
        install(radgate.function.mount, "alpha", str(number), number)
    packs.activate(radgate.function.mount, "alpha", "1")
    radgate.function.failures["activate_model"] = deque([BROKEN])
    error = radgate.refused("activate", "alpha@2")
    assert error == "radgate: the function failed: OSError; see its log"
    assert radgate.active == "alpha-1"
    assert [one["subject"] for one in radgate.audited()] == ["alpha@2"]
    radgate.models("activate", "alpha@2")
    assert radgate.active == "alpha-2"


def test_a_call_that_runs_out_of_time_is_made_again(radgate: Radgate, tmp_path: Path) -> None:
    actions = ("install_model", "verify_model", "activate_model")
    radgate.function.failures = {action: deque([TIMED_OUT]) for action in actions}
    radgate.models("install", str(install(tmp_path)))
    radgate.models("activate", "alpha@1")
    assert [radgate.function.asked.count(action) for action in actions] == [2, 2, 2]
    assert radgate.active == "alpha-1"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("activate", "alpha@9"), "model alpha@9 is not installed in the mount of stage dev"),
        (("rollback",), "no earlier model"),
        (("verify",), "no model is installed in the mount of stage dev"),
        (("install", "nothing-of-that-name"), "neither a folder nor the name"),
    ],
)
def test_refusals_are_one_line(radgate: Radgate, words: tuple[str, ...], reason: str) -> None:
    assert reason in radgate.refused(*words)


def test_a_bad_pack_is_refused_before_anything_is_sent(radgate: Radgate, tmp_path: Path) -> None:
    pack = install(tmp_path)
    (pack / WEIGHTS).write_bytes(b"cut")
    assert "is not the file of the manifest" in radgate.refused("install", str(pack))
    assert boto3.client("s3").list_objects_v2(Bucket=radgate.function.bucket)["KeyCount"] == 0
    assert radgate.function.asked == []


def test_a_function_that_is_missing_or_old_is_told(radgate: Radgate) -> None:
    radgate.function.there = False
    error = radgate.refused("list")
    assert error == "radgate: there is no function radgate-dev-efs_sync: deploy the stage"
    radgate.function.there = True
    radgate.function.old = True
    assert "are of an older release: deploy it first" in radgate.refused("rollback")


@pytest.mark.usefixtures("account")
def test_a_stage_without_a_mount_needs_its_folder_named(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--stage", "dev", "models", "list"]
    assert run(line) == 1
    assert "deploy stage dev first" in capsys.readouterr().err
    boto3.client("cloudformation").create_stack(
        StackName=stack_name("dev"),
        TemplateBody=TEMPLATE.read_text(encoding="utf-8"),
        Parameters=stack_inputs("local")[0],
    )
    assert run(line) == 1
    assert "name the folder of its packs with --model-dir" in capsys.readouterr().err
