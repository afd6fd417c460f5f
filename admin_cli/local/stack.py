"""Bring the whole local stage up: local AWS, foundation, packs, deploy, demo client and key."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import httpx

from admin_cli import emulator
from admin_cli.console import CliError
from chalicelib.errors import ModelUnavailable
from chalicelib.inference.packs import load_manifest, verify_pack

STAGE = "local"
CLIENT_ID = "demo"
DEMO_PLAN = "clinic"
KEY_LABEL = "local"
PROJECT = Path(__file__).resolve().parents[2]
# What `reset` may delete: only what we made, for RADGATE_HOME may be any folder of the user's.
OWNED = ("emulator", "build", "models", "logs", "state.json")
Tell = Callable[[str], None]


@dataclass(frozen=True)
class State:
    """What `state.json` holds, readable by its owner alone. `pid` is None while nothing runs."""

    pid: int | None
    port: int
    aws_url: str
    api_url: str
    client_id: str
    api_key: str = field(repr=False)


def read_state(home: Path) -> State | None:
    """The last known state of `home`, or None when there is none that can be read."""
    try:
        return State(**json.loads((home / "state.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write_state(home: Path, state: State) -> None:
    """Replace `state.json` in one step, mode 0600."""
    handle, temporary = tempfile.mkstemp(dir=home, prefix=".state-")  # made with mode 0600
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(asdict(state), file, indent=2)
    Path(temporary).replace(home / "state.json")


def bring_up(home: Path, port: int | None, tell: Tell, lifeline: int | None = None) -> State:
    """Start what does not run, deploy what has changed, and return where it all is.

    `port`: wished for the local AWS; None means the last one. Run again after a kill at any
    point, it completes the work. Raises CliError; an emulator that it started is then stopped.
    """
    # Half a second of imports, which `local down` and `local status` have no use for.
    from admin_cli.deploying.deployment import deploy  # noqa: PLC0415
    from admin_cli.foundation import apply_foundation  # noqa: PLC0415

    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(home):
        before = read_state(home)
        fresh = emulator.running(home) is None
        if port is None:
            port = before.port if before else 0
        # Each function under its own role, as on AWS: what a policy lacks is seen here first.
        aws = emulator.start(home, port, lifeline, enforcing=True)
        try:
            tell(f"local AWS at {aws.url}")
            emulator.use_local_endpoint(home)
            foundation = apply_foundation(STAGE, tell)
            install_packs(home, tell)
            deployment = deploy(STAGE, foundation, home, tell, force=False)
            key = _demo_key(before, deployment.api_url, tell)
            state = State(aws.pid, aws.port, aws.url, deployment.api_url, CLIENT_ID, key)
            write_state(home, state)
            emulator.save(home)  # a power cut from here on loses no key
        except BaseException:
            if fresh:
                emulator.stop(home)
            raise
    return state


def bring_down(home: Path) -> bool:
    """Stop the local AWS of `home`; its state stays on disk. False when nothing ran."""
    state = read_state(home)
    if state is not None and state.pid is not None:
        # Written first: it tells a serving `local up` that the end is wanted.
        write_state(home, replace(state, pid=None))
    return emulator.stop(home)


def wipe(home: Path, keep: Container[str] = ()) -> None:
    """Stop the local AWS of `home` and delete all of its state: clients, keys, studies, reports.

    `keep` names entries of OWNED that stay.
    """
    bring_down(home)
    for name in OWNED:
        if name in keep:
            continue
        path = home / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def install_packs(home: Path, tell: Tell) -> None:
    """Copy the packs of `models/` to where the local functions look for them.

    A pack that is there and whole is left alone, as are packs installed by other means.
    """
    target = home / "models"
    target.mkdir(parents=True, exist_ok=True)
    for manifest in sorted((PROJECT / "models").glob("*/manifest.json")):
        source = manifest.parent
        installed = target / source.name
        if _same_pack(source, installed):
            continue
        tell(f"installing model {source.name}")
        # Copied beside and renamed, so that no function ever sees half a pack.
        with tempfile.TemporaryDirectory(dir=home, prefix=".pack-") as folder:
            shutil.copytree(source, Path(folder) / "new")
            if installed.exists():
                installed.rename(Path(folder) / "old")
            (Path(folder) / "new").rename(installed)


def _same_pack(source: Path, installed: Path) -> bool:
    try:
        return verify_pack(installed).ref == load_manifest(source).ref
    except ModelUnavailable:
        return False


def _demo_key(before: State | None, api_url: str, tell: Tell) -> str:
    """The demo client's key: the one of last time when it still opens the API, else a new one."""
    from admin_cli.tenants.registry import open_registry  # noqa: PLC0415 - as above

    registry = open_registry(STAGE)
    registry.create_client(
        id=CLIENT_ID, name="Demo Clinic", email="demo@example.org", plan=DEMO_PLAN
    )
    if before is not None and _opens(api_url, before.api_key):
        return before.api_key
    # Left by a run that was killed before it wrote its key down: nobody has their secrets.
    for key in registry.keys(CLIENT_ID):
        if key.label == KEY_LABEL and key.revoked_at is None:
            registry.revoke_key(key.id)
    tell(f"issuing a key for client {CLIENT_ID}")
    secret = registry.issue_key(CLIENT_ID, label=KEY_LABEL).secret
    if not _opens(api_url, secret):
        raise CliError("the deployed API refuses the key that was just issued")
    return secret


def _opens(api_url: str, key: str) -> bool:
    """Whether the deployed API knows this key; also warms the function up.

    Raises CliError when it answers with anything but yes or no.
    """
    try:
        answer = httpx.get(f"{api_url}/account", headers={"x-api-key": key}, timeout=60)
        code = answer.json().get("code")
    except (httpx.HTTPError, ValueError, AttributeError) as error:
        raise CliError(f"the deployed API does not answer: {type(error).__name__}") from error
    if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
        return code not in {"missing_or_unknown_key", "key_revoked", "key_expired"}
    raise CliError(f"the deployed API answers {answer.status_code} ({code}) to GET /account")


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Let a second `local up` of the same home wait until the first is done."""
    with (home / "up.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
