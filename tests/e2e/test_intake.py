"""Uploads, queued studies and erasure on the whole stack: real HTTP, S3 forms, SQS, the worker."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest
from pydicom.data import get_testdata_file

from admin_cli.emulator import LOCAL_CREDENTIALS
from tests.e2e.scheduled import SCHEDULED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.conftest import Stack

WITHIN = 240  # seconds for a queued study, with a model to load and two cores for everything
API_GUIDE = Path(__file__).parents[2] / "docs" / "api.md"


def sample(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path)


@pytest.fixture(scope="module")
def large() -> bytes:
    """Return a chest PA as uncompressed DICOM: 7.2 MB, too large for the gateway."""
    return sample("RG1_UNCI.dcm").read_bytes()


@pytest.fixture(scope="module")
def chest() -> bytes:
    return sample("RG1_J2KI.dcm").read_bytes()


@pytest.fixture(scope="module")
def api(stack: Stack) -> Iterator[httpx.Client]:
    headers = {"x-api-key": stack.api_key}
    # Its addresses are joined to the end of this one.
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=120) as api:
        yield api


def open_upload(api: httpx.Client, size: int) -> Any:
    answer = api.post("/uploads", json={"size": size, "content_type": "application/dicom"})
    assert answer.status_code == 201, answer.text
    return answer.json()


def send(form: dict[str, Any], body: bytes, **fields: str) -> httpx.Response:
    # No key goes to S3, and the client's own file name stays with the client.
    return httpx.post(
        form["url"], data=form["fields"] | fields, files={"file": ("Doe.dcm", body)}, timeout=60
    )


def aws(stack: Stack, service: Any) -> Any:
    return boto3.client(
        service,
        endpoint_url=stack.aws_url,
        aws_access_key_id=LOCAL_CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=LOCAL_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=LOCAL_CREDENTIALS["AWS_DEFAULT_REGION"],
    )


def objects(stack: Stack) -> set[str]:
    s3 = aws(stack, "s3")
    names = [one["Name"] for one in s3.list_buckets()["Buckets"]]
    [bucket] = [name for name in names if name.startswith("radgate-local-")]
    listed = s3.list_objects_v2(Bucket=bucket)
    return {one["Key"] for one in listed.get("Contents", [])}


def eventually(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WITHIN
    while not (answer := found()):
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.5)
    return answer


def until_ended(api: httpx.Client, where: str | httpx.URL) -> Any:
    """Return a study once it has ended, asked for at an address that the service gave out."""

    def ended() -> Any:
        answer = api.get(where)
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.json()["status"] not in {"queued", "running"} else None

    return eventually(ended)


def used(api: httpx.Client) -> int:
    return int(api.get("/account").json()["usage"]["used"])


def test_an_image_too_large_for_the_gateway_is_uploaded_and_read(
    stack: Stack, api: httpx.Client, large: bytes
) -> None:
    before = used(api)
    assert api.post("/xray", content=large).json()["code"] == "payload_too_large"
    form = open_upload(api, len(large))
    early = api.post("/studies", json={"upload_id": form["upload_id"]})
    assert (early.status_code, early.json()["code"]) == (409, "not_finished")
    assert send(form, large).is_success
    answer = api.post("/studies", json={"upload_id": form["upload_id"]})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    study = until_ended(api, answer.request.url.join(answer.headers["location"]))
    assert study["status"] == "succeeded", study
    assert (study["image"]["format"], study["image"]["width"]) == ("DICOM", 1841)
    assert httpx.get(study["report"]["url"]).content.startswith(b"%PDF-")
    assert used(api) == before + 1
    # The image is kept no longer than it is needed.
    eventually(lambda: not [name for name in objects(stack) if form["upload_id"] in name])


def test_what_a_form_takes_after_the_202_is_of_no_study_and_is_erased(
    stack: Stack, api: httpx.Client, chest: bytes
) -> None:
    form = open_upload(api, len(chest))
    assert send(form, chest).is_success
    answer = api.post("/studies", json={"upload_id": form["upload_id"]})
    assert answer.status_code == 202, answer.text
    assert send(form, bytes(len(chest))).is_success  # the form is good for 15 minutes
    study = until_ended(api, answer.request.url.join(answer.headers["location"]))
    assert study["status"] == "succeeded", study
    assert study["image"]["sha256"] == hashlib.sha256(chest).hexdigest()
    assert api.delete(f"/studies/{study['id']}").status_code == 204
    name = form["fields"]["key"]
    assert not [one for one in objects(stack) if form["upload_id"] in one]
    assert send(form, chest).is_success
    assert name in objects(stack)
    # Nobody reads it, and the sweeper erases it once the form has ended.
    assert api.post("/studies", json={"upload_id": form["upload_id"]}).status_code == 404
    aws(stack, "dynamodb").update_item(
        TableName="radgate-local",
        Key={
            "pk": {"S": f"CLIENT#{stack.client_id}"},
            "sk": {"S": f"UPLOAD#{form['upload_id']}"},
        },
        UpdateExpression="SET gsi1sk = :past",
        ConditionExpression="attribute_exists(gsi1sk)",
        ExpressionAttributeValues={":past": {"S": "2026-01-01T00:00:00.000000Z"}},
    )
    swept = aws(stack, "lambda").invoke(
        FunctionName="radgate-local-sweep", Payload=json.dumps(SCHEDULED)
    )
    assert "FunctionError" not in swept
    eventually(lambda: name not in objects(stack))


def test_a_form_takes_only_what_was_announced(api: httpx.Client) -> None:
    form = open_upload(api, 1000)
    assert not send(form, bytes(1001)).is_success
    assert not send(form, b"").is_success
    assert not send(form, bytes(1000), **{"Content-Type": "text/html"}).is_success
    assert not send(form, bytes(1000), key="uploads/other/up_x").is_success
    assert not send(form, bytes(1000), acl="public-read").is_success
    assert send(form, bytes(1000)).is_success


def test_one_idempotency_key_in_parallel_requests_is_one_study(stack: Stack, chest: bytes) -> None:
    headers = {"x-api-key": stack.api_key, "idempotency-key": '"parallel"'}

    def post(_: int) -> httpx.Response:
        return httpx.post(f"{stack.api_url}/studies", content=chest, headers=headers, timeout=120)

    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=120) as api:
        before = used(api)
        with ThreadPoolExecutor(6) as threads:
            answers = list(threads.map(post, range(6)))
        assert [answer.status_code for answer in answers] == [202] * 6
        [study_id] = {answer.json()["id"] for answer in answers}
        assert used(api) == before + 1
        other = api.post("/studies", content=chest + b"!")
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
        assert until_ended(api, f"/studies/{study_id}")["status"] == "succeeded"


def test_an_erased_study_leaves_no_object_and_no_link(
    stack: Stack, api: httpx.Client, chest: bytes
) -> None:
    queued = api.post("/studies", content=chest).json()
    study = until_ended(api, f"/studies/{queued['id']}")
    assert [name for name in objects(stack) if study["id"] in name]
    assert api.delete(f"/studies/{study['id']}").status_code == 204
    assert not [name for name in objects(stack) if study["id"] in name]
    assert httpx.get(study["report"]["url"]).status_code in {403, 404}
    left = api.get(f"/studies/{study['id']}").json()
    assert (left["status"], left["findings"], left["image"]) == ("deleted", [], None)
    assert api.get(f"/studies/{study['id']}/report").status_code == 404
    assert api.delete(f"/studies/{study['id']}").status_code == 204


@pytest.mark.skipif(not shutil.which("jq"), reason="the guide reads JSON with jq")
def test_the_guides_commands_work_as_they_stand(
    stack: Stack, api: httpx.Client, tmp_path: Path, large: bytes
) -> None:
    shutil.copy(sample("RG1_J2KI.dcm"), tmp_path / "chest.dcm")
    now, later, ask, upload, erase = re.findall(
        r"```sh\n(.*?)```", API_GUIDE.read_text(encoding="utf-8"), re.DOTALL
    )[:5]
    variables = {"API": stack.api_url, "KEY": stack.api_key}

    def run(commands: str, **more: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]} | variables | more,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert '"status":"' in run(now)
    queued = run(later)
    assert "202" in queued.splitlines()[0]
    study_id = re.search(r"st_[0-9A-Z]{26}", queued)
    assert study_id
    assert run(ask, STUDY=study_id[0]).startswith('{"id":"st_')
    (tmp_path / "chest.dcm").write_bytes(large)
    uploaded = re.search(r"st_[0-9A-Z]{26}", run(upload))
    assert uploaded
    assert until_ended(api, f"/studies/{uploaded[0]}")["status"] == "succeeded"
    assert run(erase, STUDY=uploaded[0]) == ""
    assert api.get(f"/studies/{uploaded[0]}").json()["status"] == "deleted"
