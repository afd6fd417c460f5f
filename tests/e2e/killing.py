"""Functions of the service in processes of their own, killed at any call that changes something.

A `Host` has loaded what a warm function has and forks one process for each event. All that such a
process sends to AWS goes through a `Proxy`, which counts the calls and can end the process at one
of them by SIGKILL: the kernel lets it finish nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROJECT = Path(__file__).resolve().parents[2]
Moment = Literal["before", "after"]
READS = {"AssumeRole", "BatchGetItem", "GetItem", "GetObject", "ListObjectsV2", "Query"}
_OBJECT_CALLS = {"PUT": "PutObject", "DELETE": "DeleteObject", "GET": "GetObject"}


@dataclass(frozen=True)
class Trap:
    """Where a process ends: at its write number `at`, from 1, before or after AWS has made it.

    After it means that AWS has done it and the process never learns so.
    """

    at: int
    moment: Moment


@dataclass
class Proxy:
    """Stands between processes and AWS. `made`: their writes since the last `arm`."""

    aws_url: str
    port: int = 0
    made: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    _trap: Trap | None = None
    _sprung: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    # The process under way. A call waits until it is known whose it is.
    victims: Queue[int] = field(default_factory=Queue)

    @property
    def sprung(self) -> bool:
        """Whether the trap has killed."""
        return self._sprung

    def arm(self, trap: Trap | None) -> None:
        """Count anew; kill at the trap, once."""
        self.made, self.read, self._trap, self._sprung = [], [], trap, False

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        """Pass one call on and its answer back, unless the process is to end here."""
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        deadly = self._note(call_of(handler, body))
        if deadly == "before":
            self._kill(handler)
            return
        there = HTTPConnection(urlsplit(self.aws_url).netloc, timeout=60)
        there.request(handler.command, handler.path, body, dict(handler.headers))
        answer = there.getresponse()
        content = answer.read()
        there.close()
        if deadly == "after":
            self._kill(handler)
            return
        handler.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "content-length", "connection"}:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)

    def _note(self, call: str) -> Moment | None:
        with self._lock:
            if call in READS:
                self.read.append(call)
                return None
            self.made.append(call)
            if self._trap is None or self._sprung or len(self.made) != self._trap.at:
                return None
            self._sprung = True
            return self._trap.moment

    def _kill(self, handler: BaseHTTPRequestHandler) -> None:
        os.kill(self.victims.get(timeout=10), signal.SIGKILL)
        handler.close_connection = True


def call_of(handler: BaseHTTPRequestHandler, body: bytes) -> str:
    """Return the name of a call of AWS, as its documentation has it."""
    if target := handler.headers.get("x-amz-target"):  # DynamoDB and SQS
        return target.rpartition(".")[2]
    if body.startswith(b"Action="):  # STS
        return body.partition(b"&")[0].removeprefix(b"Action=").decode()
    if "list-type=2" in handler.path:
        return "ListObjectsV2"
    return _OBJECT_CALLS.get(handler.command, f"{handler.command} {handler.path}")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: the other end was killed."""


@contextmanager
def proxied(aws_url: str) -> Iterator[Proxy]:
    """Serve a proxy on a free port of 127.0.0.1 while the block runs."""
    proxy = Proxy(aws_url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return lambda: proxy.handle(self)
            raise AttributeError(name)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Keep the output of the tests clean."""

    with _Server(("127.0.0.1", 0), Handler) as server:
        proxy.port = int(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Host:
    """A process that forks one for each event; `log` is what they have written."""

    process: subprocess.Popen[str]
    proxy: Proxy
    log: Path

    def call(self, function: str, event: dict[str, Any]) -> Any:
        """Return the answer of a function of `app.py`, None when its process was killed."""
        while not self.proxy.victims.empty():
            self.proxy.victims.get()
        self._ask({"function": function, "event": event})
        self.proxy.victims.put(self._told()["pid"])
        ended = self._told()
        if ended["signal"]:
            assert (ended["signal"], self.proxy.sprung) == (signal.SIGKILL, True), self.tail()
            return None
        assert ended["code"] == 0, self.tail()
        return ended["answer"]

    def tail(self) -> str:
        """Return the end of the log, for a failure's message."""
        return self.log.read_text(encoding="utf-8")[-3000:]

    def _ask(self, asked: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()

    def _told(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.tail()
        return json.loads(line)


@contextmanager
def hosted(
    proxy: Proxy, environment: Mapping[str, str], log: Path, image: Path | None = None
) -> Iterator[Host]:
    """Run a host; with an `image` it has answered that one, and so loaded torch and the pack.

    `environment`: of the function, with credentials of its role.
    """
    command = [sys.executable, "-m", "tests.e2e.killing_host", *([str(image)] if image else [])]
    own = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}", "PATH": os.environ["PATH"]}
    with (
        log.open("w") as written,
        subprocess.Popen(
            command,
            cwd=PROJECT,
            # One thread: a process forked from one with a pool of threads could wait for them.
            env={**environment, **own, "RADGATE_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=written,
            text=True,
        ) as process,
    ):
        try:
            yield Host(process, proxy, log)
        finally:
            process.kill()
