"""One emulator with the real deploy on it, brought up by the command line as an operator would.

It enforces permissions: each function runs under its own role, and what a policy does not allow is
refused.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from admin_cli.local.iam import SWITCH
from tests.fakes.sink import mail_sink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.sink import Sink

PROJECT = Path(__file__).resolve().parents[2]
PLANS = Path(__file__).with_name("plans.toml")  # with limits that a test can reach
UP_SECONDS = 280  # the first bring-up installs Lambda's packages


@dataclass(frozen=True)
class Radgate:
    """The command line, run as its own process with its own home."""

    home: Path
    smtp_host: str = ""
    enforcing: bool | None = None  # permissions, by the local AWS that it starts; None: as it comes

    def run(self, *arguments: str, timeout: float = UP_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run `radgate ARGUMENTS` and return how it went; output captured."""
        return subprocess.run(
            self.command(*arguments),
            cwd=PROJECT,
            env=self.environment(),
            stdin=subprocess.DEVNULL,  # a question is refused, also where pytest has a terminal
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def json(self, *arguments: str, timeout: float = UP_SECONDS) -> Any:
        """Run a command that must succeed and return the one JSON document on its stdout."""
        done = self.run("--output", "json", *arguments, timeout=timeout)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "admin_cli", *arguments]

    def environment(self) -> dict[str, str]:
        # Nothing of a real account may reach a test, nor a test a real account.
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        own = {"RADGATE_HOME": str(self.home), "RADGATE_PLANS": str(PLANS)}
        clean.pop(SWITCH, None)
        enforcing = {} if self.enforcing is None else {SWITCH: str(int(self.enforcing))}
        return clean | own | enforcing | {"SMTP_HOST": self.smtp_host}


@dataclass(frozen=True)
class Stack:
    """What `local up` printed, and the command line that belongs to it."""

    radgate: Radgate
    api_url: str
    aws_url: str
    client_id: str
    api_key: str = field(repr=False)
    pid: int


@pytest.fixture(scope="module", autouse=True)
def _enforcing() -> Iterator[None]:
    """Let a local AWS that a test starts in this process enforce permissions too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SWITCH, "1")
        yield


@pytest.fixture(scope="session")
def sink() -> Iterator[Sink]:
    """Where the local SES hands its mail on to."""
    with mail_sink() as sink:
        yield sink


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Stack]:
    """The whole service on this machine, for all end-to-end tests together."""
    radgate = Radgate(tmp_path_factory.mktemp("radgate") / "home", sink.host)
    try:
        stack = Stack(radgate, **radgate.json("local", "up", "--detach"))
        # Loads the model: on a busy machine that takes longer than a request has, which is then
        # answered 202 where a test expects its result.
        httpx.get(f"{stack.api_url}/ready", timeout=UP_SECONDS)
        yield stack
    finally:
        radgate.run("local", "down", timeout=120)
