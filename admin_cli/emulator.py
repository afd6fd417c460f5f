"""Start, find and stop the local AWS of a home folder; point boto3 at it.

The process itself is `admin_cli.local.launcher`. Whether it runs is read from the lock it
holds, never from a process id alone: an id may by now belong to somebody else's program.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from admin_cli.console import CliError
from admin_cli.local.iam import SWITCH
from admin_cli.local.launcher import ALREADY_RUNNING, HOST, take_lock

PROJECT = Path(__file__).resolve().parents[1]
REGION = "eu-central-1"
START_SECONDS = 60  # 0.5 s when idle; a busy CI machine needs more
STOP_SECONDS = 90  # writing the state of many studies takes a while
LOCAL_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    # Without Lambda's own metadata and profiles, nothing can reach a real account by mistake.
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
_FOREIGN = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)
# What functions may see of this machine's environment. MiniStack passes its own on to every
# function, as AWS does not; with this list it has nothing to leak.
_KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "SSL_CERT_FILE",
    "SMTP_HOST",  # where the local SES hands its mail on to
    "LD_LIBRARY_PATH",
    "OMP_NUM_THREADS",
)

# Emulators started by this very process, to be reaped when it stops them.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class LocalAws:
    """A running emulator. `pid` is its process, `port` where it listens on 127.0.0.1."""

    pid: int
    port: int

    @property
    def url(self) -> str:
        """The endpoint that boto3 is given."""
        return f"http://{HOST}:{self.port}"


def local_home() -> Path:
    """The folder of all local state: `RADGATE_HOME`, else `.local` in the project."""
    return Path(os.environ.get("RADGATE_HOME") or PROJECT / ".local").resolve()


def running(home: Path) -> LocalAws | None:
    """The emulator of `home` that is alive now, else None."""
    try:
        with (home / "emulator" / "emulator.lock").open(encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return LocalAws(**json.load(handle))  # held: what stands in it is its holder's
    except (FileNotFoundError, ValueError, TypeError):
        return None  # never started, or locked but not listening yet
    return None


def start(
    home: Path, port: int = 0, lifeline: int | None = None, *, enforcing: bool = False
) -> LocalAws:
    """Start the emulator of `home`, or return the one that runs already.

    `port` is taken when free, else another is. `lifeline` is the read end of a pipe: the emulator
    stops when its other end closes. `enforcing`: whether permissions are, where the environment
    does not say. Raises CliError when it does not come up in 60 seconds.
    """
    if (already := running(home)) is not None:
        return already
    folder = home / "emulator"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.rmtree(folder / "tmp", ignore_errors=True)  # functions unpacked by an earlier process
    # A killed process leaves its number in the lock file; here it cannot be taken for the new one.
    if (stale := take_lock(folder / "emulator.lock")) is not None:
        stale.close()
    command = [sys.executable, "-m", "admin_cli.local.launcher", "--home", str(folder)]
    command += ["--port", str(port)]
    if lifeline is not None:
        command += ["--lifeline", str(lifeline)]
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    if os.environ.get(SWITCH, str(int(enforcing))) == "1":
        kept["AUTH"] = "true"  # every call is checked against its caller's policies
    log = folder / "emulator.log"
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            command,
            cwd=PROJECT,
            env=kept | LOCAL_CREDENTIALS | {"MINISTACK_REGION": REGION, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=() if lifeline is None else (lifeline,),
            start_new_session=True,  # Ctrl-C reaches us only; we then stop it in good order
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = running(home)
        if found is not None and _healthy(found):
            _children[process.pid] = process
            return found
        code = process.poll()
        if code is not None and code != ALREADY_RUNNING:
            break
        time.sleep(0.05)
    _end(process)
    raise CliError(f"the local AWS did not start; the reason is at the end of {log}")


def stop(home: Path) -> bool:
    """Stop the emulator of `home` and wait until its state is written; False when none ran.

    Raises CliError when it has not stopped after 90 seconds.
    """
    found = running(home)
    if found is None:
        return False
    os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while running(home) is not None:
        if time.monotonic() > deadline:
            raise CliError(f"the local AWS (process {found.pid}) does not stop")
        time.sleep(0.05)
    if (child := _children.pop(found.pid, None)) is not None:
        child.wait(STOP_SECONDS)
    shutil.rmtree(home / "emulator" / "tmp", ignore_errors=True)
    return True


def save(home: Path) -> None:
    """Ask the running emulator to write its state now, so that a power cut loses less."""
    found = running(home)
    if found is not None:
        os.kill(found.pid, signal.SIGUSR1)


def use_local_endpoint(home: Path | None = None) -> LocalAws:
    """Point every AWS client that this process and its children make from now on at the local AWS.

    Raises CliError when it is not running.
    """
    found = running(home or local_home())
    if found is None:
        raise CliError("the local AWS is not running: start it with `radgate local up`")
    for name in [
        name for name in os.environ if name in _FOREIGN or name.startswith("AWS_ENDPOINT")
    ]:
        del os.environ[name]
    os.environ.update(LOCAL_CREDENTIALS | {"AWS_ENDPOINT_URL": found.url})
    return found


def _healthy(found: LocalAws) -> bool:
    try:
        with urllib.request.urlopen(f"{found.url}/_ministack/health", timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a child that did not come up."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
