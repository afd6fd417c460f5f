"""`radgate deploy` as a process that is killed with SIGKILL: the next run always ends well."""

from __future__ import annotations

import fcntl
import random
import signal
import subprocess
import time
from threading import Timer
from typing import TYPE_CHECKING

import pytest

from admin_cli import emulator
from tests.e2e.conftest import PROJECT, Radgate

if TYPE_CHECKING:
    from collections.abc import Iterator

# Whole deploys with torch on the mount; a busy machine takes minutes for each.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]
STAGES = '[local]\nnetwork = "new"\nlog_days = 7\n'
# A line of progress for each step, in the order of their first appearance.
STEPS = (
    "1/4 foundation",
    "Creating lambda function",
    "Creating Rest API",
    "writing the gateway's answers",
    "mounting",
    "wiring",
    "packages: uploading",
    "packages: onto the mount",
    "model cardionet@1: onto the mount",
    "its golden answer",
    "the key opens the API",
)
RUN_SECONDS = 1500
MOMENTS = random.SystemRandom()


class Deploys(Radgate):
    """The command line on a stage with a file system."""

    def environment(self) -> dict[str, str]:
        return super().environment() | {"RADGATE_STAGES": str(self.home.parent / "stages.toml")}


@pytest.fixture(scope="module")
def radgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deploys]:
    """A local AWS with nothing on it."""
    home = tmp_path_factory.mktemp("killed") / "home"
    (home.parent / "stages.toml").write_text(STAGES, encoding="utf-8")
    emulator.start(home)
    try:
        yield Deploys(home)
    finally:
        emulator.stop(home)


def killed(radgate: Deploys, words: str = "", seconds: float = RUN_SECONDS) -> bool:
    """Run a deploy and kill it at the first line with `words`, or after `seconds`.

    False when it came to its end before.
    """
    wait_for_lock(radgate)
    with subprocess.Popen(
        radgate.command("deploy", *([] if words else ["--force"])),
        cwd=PROJECT,
        env=radgate.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        timer = Timer(seconds, process.kill)
        timer.start()
        for line in process.stderr or ():
            if words and words in line:
                process.kill()
        timer.cancel()
    return process.returncode == -signal.SIGKILL


def wait_for_lock(radgate: Deploys) -> None:
    """Wait until Chalice, if a killed run has left it, has noticed that nobody listens."""
    deadline = time.monotonic() + RUN_SECONDS
    with (radgate.home / "deploy-local.lock").open("w", encoding="utf-8") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            else:
                return


def deployed(radgate: Deploys) -> None:
    """Deploy to the end, with a study by the model as its proof."""
    wait_for_lock(radgate)
    made = radgate.json("deploy", timeout=RUN_SECONDS)
    assert made["smoke_test"]["model"] == "cardionet@1"


def test_a_deploy_that_is_killed_at_each_step_ends_well(radgate: Deploys) -> None:
    for words in STEPS:
        assert killed(radgate, words), words
    deployed(radgate)
    # Anywhere: in the middle of a step as well.
    for _ in range(2):
        killed(radgate, seconds=MOMENTS.uniform(3, 25))
    deployed(radgate)
    assert radgate.json("deploy", "--dry-run") == []
    models = radgate.home / "models"
    found = sorted(one.name for one in models.iterdir() if not one.name.startswith("."))
    assert found == ["active.json", "cardionet-1"]
    assert not list(models.rglob(".incoming-*"))
    runtime = models / ".runtime"
    assert (
        len([one for one in runtime.iterdir() if not one.name.startswith(".")]) == 2
    )  # and active
