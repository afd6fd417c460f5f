"""Keys and clients over their whole life, on the deployed stack, by the command line alone."""

from __future__ import annotations

import json
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import boto3
import httpx
from pydicom.data import get_testdata_file

from admin_cli.emulator import LOCAL_CREDENTIALS, REGION

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from mypy_boto3_apigateway import APIGatewayClient

    from tests.e2e.conftest import Stack


def create(stack: Stack, client_id: str, plan: str = "clinic") -> None:
    stack.radgate.json(
        *("clients", "create", client_id, "--name", client_id.title()),
        *("--email", f"{client_id}@example.org", "--plan", plan),
    )


def ask(stack: Stack, secret: str) -> httpx.Response:
    return httpx.get(f"{stack.api_url}/account", headers={"x-api-key": secret}, timeout=120)


class Hammer:
    """Two threads that call the API without a pause, with whatever key is the current one."""

    def __init__(self, stack: Stack, secret: str) -> None:
        self.secret = secret
        self.answers: list[tuple[str, int]] = []
        self._stack = stack
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(2)]

    def _call(self) -> None:
        while not self._stop.is_set():
            secret = self.secret
            self.answers.append((secret, ask(self._stack, secret).status_code))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, count: int, secret: str) -> None:
        """Wait until `count` more answers to `secret` are there."""
        wanted = count + sum(used == secret for used, _ in self.answers)
        until(lambda: sum(used == secret for used, _ in self.answers) >= wanted)


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < seconds
        time.sleep(0.05)


def test_a_client_that_hammers_the_api_through_a_rotation_sees_no_failure(stack: Stack) -> None:
    create(stack, "rotating")
    old = stack.radgate.json("keys", "issue", "rotating", "--label", "pacs")
    with Hammer(stack, old["secret"]) as hammer:
        hammer.wait_for(5, old["secret"])
        new: dict[str, Any] = stack.radgate.json("keys", "rotate", old["id"], "--overlap", "1h")
        hammer.wait_for(5, old["secret"])  # the old one during the overlap
        hammer.secret = new["secret"]
        hammer.wait_for(10, new["secret"])
    assert {status for _, status in hammer.answers} == {200}
    assert new["label"] == "pacs"
    assert new["replaces"] == old["id"]
    assert (new["old"]["state"], new["old"]["replaced_by"]) == ("replaced", new["id"])
    again = stack.radgate.run("keys", "rotate", old["id"])
    assert again.returncode == 1
    assert f"rotate {new['id']}" in again.stderr


def test_revoke_wait_probes_until_the_api_refuses_and_says_the_seconds(stack: Stack) -> None:
    create(stack, "revoking")
    issued = stack.radgate.json("keys", "issue", "revoking")
    assert ask(stack, issued["secret"]).status_code == 200
    revoked = stack.radgate.json("keys", "revoke", issued["id"], "--wait")
    assert 0 <= revoked["refused_after_seconds"] <= 30
    assert ask(stack, issued["secret"]).status_code == 403
    twice = stack.radgate.json("keys", "revoke", issued["id"], "--wait")
    assert twice["refused_after_seconds"] is None


def test_a_changed_plan_holds_at_the_gate_and_nothing_differs_any_more(stack: Stack) -> None:
    create(stack, "changing")
    issued = stack.radgate.json("keys", "issue", "changing")
    assert ask(stack, issued["secret"]).status_code == 200
    stack.radgate.json("clients", "update", "changing", "--plan", "quiet")
    until(lambda: ask(stack, issued["secret"]).status_code == 429, seconds=20)
    applied = stack.radgate.json("plans", "apply", "--dry-run")
    assert applied == {"applied": False, "differences": []}


def test_a_client_is_deleted_and_the_trail_of_all_that_was_done_holds(stack: Stack) -> None:
    create(stack, "passing")
    assert stack.radgate.json("clients", "delete", "passing", "--yes")["id"] == "passing"
    told = stack.radgate.json("audit", "log", "--client", "passing")
    assert [entry["action"] for entry in told][:2] == ["client.delete", "client.leave"]
    assert stack.radgate.run("audit", "verify").returncode == 0


def test_a_client_that_has_studies_is_deleted_with_all_of_them(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(stack, "leaving")
    key = {"x-api-key": stack.radgate.json("keys", "issue", "leaving")["secret"]}
    chest = get_testdata_file("RG1_J2KI.dcm", download=False)
    assert isinstance(chest, str)

    def done(study: dict[str, Any]) -> bool:
        url = f"{stack.api_url}/studies/{study['id']}"
        return bool(httpx.get(url, headers=key, timeout=120).json()["status"] == "succeeded")

    for route in ("xray", "studies"):
        answer = httpx.post(
            f"{stack.api_url}/{route}", content=Path(chest).read_bytes(), headers=key, timeout=120
        )
        assert answer.status_code in {200, 202}, answer.text
        until(partial(done, answer.json()), seconds=180)
    study = httpx.get(f"{stack.api_url}/studies", headers=key, timeout=120).json()["items"][0]
    report = httpx.get(f"{stack.api_url}/studies/{study['id']}/report", headers=key, timeout=120)
    assert httpx.get(report.json()["url"], timeout=60).content.startswith(b"%PDF-")

    # Nobody sends anything any more, which is all that the 90 seconds are for.
    monkeypatch.setenv("RADGATE_QUIET_SECONDS", "2")
    counts = stack.radgate.json("clients", "delete", "leaving", "--dry-run")["would_erase"]
    assert (counts["keys"], counts["studies"]) == (1, 2)
    assert counts["objects"] >= 2
    deleted = stack.radgate.json("clients", "delete", "leaving", "--yes")
    assert stack.radgate.json("clients", "delete", "leaving", "--yes") == deleted
    assert httpx.get(f"{stack.api_url}/account", headers=key, timeout=120).status_code == 403
    assert httpx.get(report.json()["url"], timeout=60).status_code == 404
    told = stack.radgate.json("audit", "log", "--client", "leaving")
    actions = [entry["action"] for entry in told]
    assert actions[:4] == ["client.delete", "key.discard", "key.revoke", "client.leave"]
    assert told[0]["after"]["erased"] == {name: counts[name] for name in ("objects", "studies")}
    # The ledger stays.
    days = stack.radgate.json("usage", "report", "--client", "leaving")
    assert sum(day["studies"] for day in days) == 2
    assert stack.radgate.run("audit", "verify").returncode == 0


def test_doctor_finds_and_repairs_drift_on_the_deployed_stack(stack: Stack) -> None:
    create(stack, "drifting")
    issued = stack.radgate.json("keys", "issue", "drifting")
    gateway: APIGatewayClient = boto3.client(
        "apigateway",
        endpoint_url=stack.aws_url,
        region_name=REGION,
        aws_access_key_id=LOCAL_CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=LOCAL_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    gateway.delete_api_key(apiKey=issued["gateway_key_id"])
    assert ask(stack, issued["secret"]).status_code == 403
    found = stack.radgate.run("--output", "json", "doctor")
    assert found.returncode == 1
    subjects = {one["subject"] for one in json.loads(found.stdout)["left"]}
    assert issued["id"] in subjects
    repaired = stack.radgate.run("--output", "json", "doctor", "--repair", "--yes")
    left = {one["subject"] for one in json.loads(repaired.stdout)["left"]}
    assert issued["id"] not in left
    [key] = stack.radgate.json("keys", "list", "drifting")
    assert key["state"] == "revoked"


def test_the_time_of_a_key_s_last_use_is_kept(stack: Stack) -> None:
    create(stack, "timely")
    issued = stack.radgate.json("keys", "issue", "timely")
    assert issued["last_used_at"] is None
    assert ask(stack, issued["secret"]).status_code == 200
    [key] = stack.radgate.json("keys", "list", "timely")
    assert key["last_used_at"] > issued["created_at"][:19]
