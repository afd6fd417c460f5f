"""Posts signed events to the URLs that clients have named; `address.py` says where it may go.

Nothing of the answer is used but its status and how long to wait: no redirect is followed, the
body is thrown away.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING

from chalicelib.delivery import signature
from chalicelib.delivery.address import AddressRefused, addresses, parse, system_resolver
from chalicelib.domain import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from chalicelib.delivery.address import Resolver, Target
    from chalicelib.domain import Client, Delivery
    from chalicelib.ports import Clock, SecretStore

CONNECT_SECONDS = 3.0
_ADDRESSES = 3  # of one name, tried in turn
_MAX_DIGITS = 9  # of a number of seconds: more than a life
_BODY_BYTES = 16_384  # read and thrown away, so that the other side sees no broken connection
_GONE = 410
_WAIT = {429, 503}  # with these an answer may say when to come again


@dataclass(frozen=True, slots=True)
class Network:
    """How the world is reached.

    `loopback`: whether a webhook may lead to this very machine, over plain HTTP too. `connect`:
    from an address and a port, and seconds, to a socket; asks no DNS, for it is given addresses.
    `trust`: makes what verifies servers. `answer_seconds`: from the connection to the last byte
    that we read, however slowly they drip.
    """

    loopback: bool = False
    resolve: Resolver = system_resolver
    connect: Callable[[tuple[str, int], float], socket.socket] = socket.create_connection
    trust: Callable[[], ssl.SSLContext] = ssl.create_default_context
    answer_seconds: float = 10.0


class WebhookCourier:
    """Posts events."""

    def __init__(self, secrets: SecretStore, clock: Clock, network: Network | None = None) -> None:
        self._secrets = secrets
        self._clock = clock
        self._network = network or Network()
        self._trust = cache(self._network.trust)

    def tell(self, client: Client, delivery: Delivery) -> Outcome:
        """Post the event once; only an answer 2xx counts. Raises StorageUnavailable.

        Takes at most 3 times 6 s to connect (TCP, then TLS), 10 s to answer, and what the
        resolver takes.
        """
        signing = self._secrets.secrets(client.id)
        if signing is None or client.webhook is None:
            return Outcome(verdict="never", reason="The webhook has no secret to sign with.")
        world = self._network
        try:
            target = parse(client.webhook, loopback=world.loopback)
            reachable = addresses(target, world.resolve, loopback=world.loopback)
        except AddressRefused as refused:
            return Outcome(verdict="later" if refused.passing else "never", reason=refused.reason)
        now, body = self._clock(), event_body(delivery)
        headers = signature.headers(signing.in_force(now), delivery.id, now, body) | {
            "Host": target.authority,
            "Content-Type": "application/json",
            "User-Agent": "Radgate-Webhook/1",
            "Connection": "close",
        }
        try:
            status, wait = self._post(target, reachable[:_ADDRESSES], headers, body)
        except (OSError, HTTPException) as error:
            return Outcome(verdict="later", reason=_reason(error))
        if 200 <= status < 300:  # noqa: PLR2004 - the range of success
            return Outcome(verdict="delivered")
        if status == _GONE:
            reason = "The server answered 410, gone for good."
            return Outcome(verdict="never", reason=reason, gone=True)
        asked = retry_after(wait, now) if status in _WAIT else None
        return Outcome(verdict="later", reason=f"The server answered {status}.", wait=asked)

    def _post(
        self, target: Target, reachable: Sequence[str], headers: dict[str, str], body: bytes
    ) -> tuple[int, str]:
        """Return the status of the answer, and its `Retry-After` as it is."""
        # Given its socket, this class never looks at the name or connects by itself.
        connection = HTTPConnection(target.host, target.port)
        connection.sock = sock = self._connect(target, reachable)
        try:
            with _time_limit(sock, self._network.answer_seconds) as over:
                connection.request("POST", target.path, body=body, headers=headers)
                answer = connection.getresponse()
                if over.is_set():  # what was cut off can look like an answer
                    raise TimeoutError
                with suppress(OSError, HTTPException):
                    answer.read(_BODY_BYTES)
                return answer.status, answer.headers.get("Retry-After", "")
        finally:
            connection.close()

    def _connect(self, target: Target, reachable: Sequence[str]) -> socket.socket:
        """Return a socket to the first address that takes a connection; nothing is sent yet."""
        for address in reachable[:-1]:
            with suppress(OSError):
                return self._open(target, address)
        return self._open(target, reachable[-1])

    def _open(self, target: Target, address: str) -> socket.socket:
        sock = self._network.connect((address, target.port), CONNECT_SECONDS)
        if not target.secure:
            return sock
        try:
            # To the address that was checked; the certificate must be of the name all the same.
            return self._trust().wrap_socket(sock, server_hostname=target.host)
        except BaseException:
            sock.close()
            raise


def event_body(delivery: Delivery) -> bytes:
    """Return what is posted: which study ended and how. No finding and no label is among it."""
    data = {}
    if delivery.study_id is not None:
        data = {"id": delivery.study_id, "status": delivery.kind.removeprefix("study.")}
    at = delivery.created_at.astimezone(UTC).isoformat(timespec="milliseconds")
    event = {"type": delivery.kind, "timestamp": at.replace("+00:00", "Z"), "data": data}
    return json.dumps(event, separators=(",", ":")).encode()


def retry_after(text: str, now: datetime) -> timedelta | None:
    """Return the wait that a `Retry-After` asks for: seconds, or a date. None for anything else."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=int(text[:_MAX_DIGITS]))
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:  # an offset of -0000: the time is in UTC all the same
        at = at.replace(tzinfo=UTC)
    return max(timedelta(), at - now)


@contextmanager
def _time_limit(sock: socket.socket, seconds: float) -> Iterator[threading.Event]:
    """Let the block wait for the other side so long in all; yields what is set once that is over.

    Then reading ends. An error of the block is a TimeoutError from then on. A socket's own time
    limit is not enough: it begins anew with every byte that arrives.
    """
    sock.settimeout(seconds)
    over = threading.Event()

    def end() -> None:
        over.set()
        with suppress(OSError):  # closed already
            # Of the plain socket: that of TLS would drop its state under the other thread.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield over
    except (OSError, HTTPException) as error:
        if over.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()


def _reason(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return "The server's certificate is not valid for its name."
        case TimeoutError():
            return "The server did not answer in time."
        case ssl.SSLError():
            return "The server and we could not agree on TLS."
        case OSError():
            return "The connection to the server failed."
        case _:
            return "The server's answer is not HTTP."
