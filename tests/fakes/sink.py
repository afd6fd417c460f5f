"""A mail server on this machine that keeps what it is sent."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import SMTP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage


@dataclass
class Sink:
    """`host`: host and port, as SMTP_HOST takes them."""

    host: str = ""
    mails: list[tuple[list[str], EmailMessage]] = field(default_factory=list)

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802
        mail: Any = message_from_bytes(envelope.content, policy=default)
        self.mails.append((list(envelope.rcpt_tos), mail))
        return "250 OK"


@contextmanager
def mail_sink() -> Iterator[Sink]:
    """Take mail on a free port of 127.0.0.1 while the block runs."""
    sink, loop = Sink(), asyncio.new_event_loop()
    server = loop.run_until_complete(
        loop.create_server(lambda: SMTP(sink, loop=loop), "127.0.0.1", 0)
    )
    address = server.sockets[0].getsockname()
    sink.host = f"{address[0]}:{address[1]}"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.close()


def parts_of(mail: EmailMessage) -> dict[str, str]:
    """Return the text of each part of a multipart mail by its content type."""
    assert mail.get_content_type() == "multipart/alternative"
    return {part.get_content_type(): part.get_content() for part in mail.iter_parts()}
