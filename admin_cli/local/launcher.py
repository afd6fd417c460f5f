"""The process of the local AWS: one MiniStack on 127.0.0.1, its gaps bridged, its owner known.

Run as ``python -m admin_cli.local.launcher --home DIR --port N [--lifeline FD]``; the command
line does that through `admin_cli.emulator`. It holds an exclusive lock on ``DIR/emulator.lock``
for as long as it lives and writes its process id and port into that file, so "is it running, and
is that number really ours?" has one answer that cannot go stale: a lock dies with its holder.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import socket
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

HOST = "127.0.0.1"
ALREADY_RUNNING = 75  # sysexits.h EX_TEMPFAIL: another launcher holds this home


def take_lock(path: Path) -> IO[str] | None:
    """Open and lock `path`; None when another process holds it."""
    path.touch(mode=0o600)
    handle = path.open("r+", encoding="utf-8")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    handle.truncate()  # what an earlier holder wrote, had it no time to clean up
    return handle


def listen(port: int) -> socket.socket:
    """A listening socket on `port` of 127.0.0.1, or on a free one when `port` is taken or 0.

    The socket is bound here and handed over open, so no other program can take the port between
    the look and the use.
    """
    for candidate in (port, 0):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, candidate))
            listener.listen(128)
        except OSError:
            listener.close()
            continue
        return listener
    message = f"no free port on {HOST}"
    raise OSError(message)


def configure(home: Path, port: int) -> None:
    """Set what MiniStack reads from the environment when it is imported."""
    temporary = home / "tmp"  # functions are unpacked here; nothing in it outlives the process
    temporary.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        {
            "GATEWAY_PORT": str(port),
            "MINISTACK_HOST": HOST,
            "BIND_HOST": HOST,
            "PERSIST_STATE": "1",
            "STATE_DIR": str(home / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(home / "objects"),
            "TMPDIR": str(temporary),
            # Two servers that nothing here talks to; they would bind all interfaces.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            # No Docker here: without this, start-up looks for a daemon and stops its containers.
            "DOCKER_HOST": f"unix://{home / 'no-docker'}",
        }
    )


def follow(lifeline: int) -> None:
    """Stop cleanly when the other end of the pipe `lifeline` closes.

    A serving `local up` holds that end. Should it be killed outright, the kernel closes it, and
    nothing is left running.
    """

    def wait() -> None:
        with os.fdopen(lifeline, "rb") as pipe:
            pipe.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True, name="lifeline").start()


def serve(ministack: ModuleType, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then let MiniStack write its state."""
    import asyncio  # noqa: PLC0415 - most who import this module only ask whether it runs

    hypercorn = import_module("hypercorn.asyncio")
    config = import_module("hypercorn.config").Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = (
        75  # seconds; longer than a client's idle pool, as MiniStack sets it
    )
    config.graceful_timeout = 5  # seconds for requests under way
    config.shutdown_timeout = 60  # seconds for writing the state
    config.accesslog = None

    async def run() -> None:
        # On request the state is written without stopping: it bounds what a power cut can lose.
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, save_state, ministack)
        await hypercorn.serve(ministack.app, config)

    asyncio.run(run())


def save_state(ministack: ModuleType) -> None:
    """Write every service's state to disk now."""
    ministack.save_all(ministack._build_persistence_save_dict())  # noqa: SLF001 - it has no public name


def main(arguments: list[str] | None = None) -> int:
    """Run the emulator; 0 after a clean stop, 75 when one is already running for this home."""
    parser = argparse.ArgumentParser(prog="admin_cli.local.launcher")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--lifeline", type=int)
    options = parser.parse_args(arguments)
    home: Path = options.home.resolve()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = take_lock(home / "emulator.lock")
    if lock is None:
        return ALREADY_RUNNING
    os.umask(0o077)  # the state holds API keys in the clear
    listener = listen(options.port)
    port = listener.getsockname()[1]
    configure(home, port)
    ministack = import_module("ministack.app")
    import_module("admin_cli.local.gaps").bridge()
    import_module("admin_cli.local.iam").bridge_conditions()
    if options.lifeline is not None:
        follow(options.lifeline)
    json.dump({"pid": os.getpid(), "port": port}, lock)
    lock.flush()
    serve(ministack, listener)
    lock.truncate(0)  # while still locked: nobody may ever signal a number that is no longer ours
    return 0


if __name__ == "__main__":
    sys.exit(main())
