"""`radgate local`: idempotent, polite about ports, nothing lost at a stop, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e.conftest import PROJECT, UP_SECONDS, Radgate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENDING_SECONDS = 60


@pytest.fixture(scope="module")
def radgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Radgate]:
    """A home of its own: these tests stop and reset what the shared stack must keep."""
    cli = Radgate(tmp_path_factory.mktemp("local") / "home")
    try:
        yield cli
    finally:
        cli.run("local", "down")


def account(up: dict[str, str]) -> httpx.Response:
    return httpx.get(f"{up['api_url']}/account", headers={"x-api-key": up["api_key"]}, timeout=60)


def processes_of(home: Path) -> list[str]:
    """Command lines that name this home: the local AWS and its unpacked functions."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True
    )
    return [line for line in listing.stdout.splitlines() if str(home) in line]


def wait_until_nothing_runs(home: Path) -> None:
    deadline = time.monotonic() + ENDING_SECONDS
    while (left := processes_of(home)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def test_up_twice_is_one_local_aws_with_one_key(radgate: Radgate) -> None:
    first = radgate.json("local", "up", "--detach")
    assert set(first) == {"api_url", "aws_url", "client_id", "api_key", "pid"}
    assert account(first).status_code == 200
    assert radgate.json("local", "up", "--detach") == first


def test_permissions_are_enforced_without_being_asked_for(radgate: Radgate) -> None:
    up = radgate.json("local", "up", "--detach")
    health = httpx.get(f"{up['aws_url']}/_ministack/health", timeout=60)
    assert '"auth": "enabled"' in json.dumps(health.json())


def test_the_state_file_is_for_its_owner_alone(radgate: Radgate) -> None:
    up = radgate.json("local", "up", "--detach")
    path = radgate.home / "state.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["api_key"] == up["api_key"]


def test_status_tells_where_it_runs_and_no_secret(radgate: Radgate) -> None:
    up = radgate.json("local", "up", "--detach")
    done = radgate.run("--output", "json", "local", "status")
    status = json.loads(done.stdout)
    assert status["running"]
    assert (status["api_url"], status["pid"]) == (up["api_url"], up["pid"])
    assert up["api_key"] not in done.stdout


def test_clients_and_keys_survive_a_restart_and_the_second_start_deploys_nothing(
    radgate: Radgate,
) -> None:
    up = radgate.json("local", "up", "--detach")
    radgate.json(
        *("clients", "create", "kept", "--name", "Kept", "--email", "k@example.org"),
        *("--plan", "clinic"),
    )
    assert radgate.json("local", "down") == {"stopped": True}
    assert radgate.json("local", "down") == {"stopped": False}
    assert not radgate.json("local", "status")["running"]
    wait_until_nothing_runs(radgate.home)
    with pytest.raises(httpx.ConnectError):
        httpx.get(up["aws_url"])

    begun = time.monotonic()
    again = radgate.run("--output", "json", "local", "up", "--detach")
    assert "nothing to deploy" in again.stderr
    assert json.loads(again.stdout)["api_key"] == up["api_key"]
    assert account(json.loads(again.stdout)).status_code == 200
    assert {"demo", "kept"} <= {client["id"] for client in radgate.json("clients", "list")}
    assert time.monotonic() - begun < ENDING_SECONDS


def test_a_killed_local_aws_comes_back_with_its_key(radgate: Radgate) -> None:
    up = radgate.json("local", "up", "--detach")
    os.kill(int(up["pid"]), signal.SIGKILL)
    wait_until_nothing_runs(radgate.home)
    assert not radgate.json("local", "status")["running"]
    again = radgate.json("local", "up", "--detach")
    assert again["api_key"] == up["api_key"]
    assert again["pid"] != up["pid"]
    assert account(again).status_code == 200


def test_a_taken_port_is_left_alone(radgate: Radgate) -> None:
    radgate.run("local", "down")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = radgate.json("local", "up", "--detach", "--port", str(port))
        assert not up["aws_url"].endswith(f":{port}")
        # The API moved with the port; the key still opens it.
        assert account(up).status_code == 200


def test_another_stage_has_nothing_local(radgate: Radgate) -> None:
    done = radgate.run("--stage", "prod", "local", "status")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


@contextmanager
def serving(radgate: Radgate) -> Iterator[subprocess.Popen[str]]:
    """`radgate local up` in the foreground, once it serves."""
    radgate.run("local", "down")
    with subprocess.Popen(
        radgate.command("--output", "json", "local", "up"),
        cwd=PROJECT,
        env=radgate.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert account(json.loads(_document(process))).status_code == 200
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_serving_ends_with_its_terminal_and_leaves_nothing(
    radgate: Radgate, ending: signal.Signals
) -> None:
    with serving(radgate) as process:
        process.send_signal(ending)
        process.communicate(timeout=ENDING_SECONDS)
    wait_until_nothing_runs(radgate.home)
    assert process.returncode == (-ending if ending == signal.SIGKILL else 0)
    assert not radgate.json("local", "status")["running"]


def test_down_ends_a_serving_up_as_wanted_and_a_crash_does_not(radgate: Radgate) -> None:
    with serving(radgate) as process:
        assert radgate.json("local", "down") == {"stopped": True}
        process.communicate(timeout=ENDING_SECONDS)
        assert process.returncode == 0
    with serving(radgate) as process:
        os.kill(radgate.json("local", "status")["pid"], signal.SIGKILL)
        _out, told = process.communicate(timeout=ENDING_SECONDS)
        assert process.returncode == 1
        assert "ended by itself" in told


def test_an_interrupted_bring_up_leaves_nothing_and_is_completed_by_the_next(
    radgate: Radgate,
) -> None:
    radgate.run("local", "reset", "--yes")
    with subprocess.Popen(
        radgate.command("local", "up", "--detach"),
        cwd=PROJECT,
        env=radgate.environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as starting:
        for line in starting.stderr or ():
            if "Creating lambda function" in line:
                starting.send_signal(signal.SIGTERM)
                break
        starting.communicate(timeout=ENDING_SECONDS)
    assert starting.returncode == 1
    wait_until_nothing_runs(radgate.home)
    assert account(radgate.json("local", "up", "--detach")).status_code == 200


def test_reset_deletes_its_own_and_nothing_else(radgate: Radgate) -> None:
    before = radgate.json("local", "up", "--detach")
    foreign = radgate.home / "somebody-elses.txt"
    foreign.write_text("stays")
    assert radgate.run("local", "reset").returncode == 1  # nobody is there to answer
    assert radgate.json("local", "status")["running"]
    assert radgate.json("local", "reset", "--yes") == {"reset": True}
    wait_until_nothing_runs(radgate.home)
    assert foreign.read_text() == "stays"
    assert not (radgate.home / "state.json").exists()
    after = radgate.json("local", "up", "--detach")
    assert after["api_key"] != before["api_key"]
    assert [client["id"] for client in radgate.json("clients", "list")] == ["demo"]


def _document(serving: subprocess.Popen[str]) -> str:
    """The JSON document that a serving command prints before it settles to serve."""
    lines: list[str] = []
    deadline = time.monotonic() + UP_SECONDS
    while time.monotonic() < deadline:
        lines.append(serving.stdout.readline() if serving.stdout else "")
        with suppress(ValueError):
            json.loads("".join(lines))
            return "".join(lines)
        assert lines[-1], serving.stderr.read() if serving.stderr else ""
    raise TimeoutError
