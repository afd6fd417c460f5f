"""The Lambda Runtime API, as far as a Python function needs it: one event at a time over HTTP."""

from __future__ import annotations

import json
import queue
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_VERSION = "/2018-06-01/runtime"
_ID = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"


class FunctionFailed(Exception):
    """The function reported an error instead of an answer."""


@dataclass
class RuntimeApi:
    """Serves on 127.0.0.1 while it is entered; `address` is what AWS_LAMBDA_RUNTIME_API names."""

    seconds: float = 300.0
    _events: queue.Queue[bytes] = field(default_factory=queue.Queue)
    _answers: queue.Queue[tuple[str, bytes]] = field(default_factory=queue.Queue)

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def invoke(self, event: Mapping[str, Any], alive: Callable[[], bool]) -> Any:
        """Give the function an event and return its answer. Raises FunctionFailed."""
        self._events.put(json.dumps(event).encode())
        deadline = time.monotonic() + self.seconds
        while True:
            try:
                kind, body = self._answers.get(timeout=0.2)
                break
            except queue.Empty:
                if not alive() or time.monotonic() > deadline:
                    raise FunctionFailed("it ended, or gave no answer in time") from None
        if kind != "response":
            raise FunctionFailed(body.decode())
        return json.loads(body)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                assert self.path == f"{_VERSION}/invocation/next"
                event = api._events.get()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(event)))
                self.send_header("Lambda-Runtime-Aws-Request-Id", _ID)
                deadline = int((time.time() + api.seconds) * 1000)
                self.send_header("Lambda-Runtime-Deadline-Ms", str(deadline))
                arn = "arn:aws:lambda:eu-central-1:000000000000:function:radgate"
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", arn)
                self.end_headers()
                self.wfile.write(event)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = self._chunks()
                api._answers.put((self.path.rpartition("/")[2], body))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def _chunks(self) -> bytes:
                whole = b""
                while size := int(self.rfile.readline().strip(), 16):
                    whole += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return whole

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
