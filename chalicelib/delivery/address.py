"""Where a webhook may lead: to the public internet and nowhere else.

A client names the URL and our function calls it from inside our account, so the URL must not lead
to the function's own surroundings: its loopback, the instance's credentials at 169.254.169.254,
a private network. A name is resolved once; all its addresses are checked, and the connection goes
to a checked address, not to the name: what DNS says a moment later is not asked.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NoReturn
from urllib.parse import urlsplit

# From a host and a port to the addresses of the name. Raises OSError.
Resolver = Callable[[str, int], list[str]]

_MAX_URL = 2000
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")
_LOWEST_FREE_PORT = 1024
# The only part of IPv6 that is given out for the public internet.
_GLOBAL_V6 = IPv6Network("2000::/3")
# Tunnels that carry an IPv4 address inside: Teredo and 6to4, the latter's relays as well.
_TUNNELS = (IPv6Network("2001::/32"), IPv6Network("2002::/16"), IPv4Network("192.88.99.0/24"))
# Names that belong to somebody's inside, whatever they resolve to.
_INSIDE = (".internal", ".local", ".localhost", ".localdomain", ".home.arpa", ".onion")


class AddressRefused(Exception):
    """The URL may not be called, or its name not be resolved. The text is fit for a log.

    `passing`: whether it may be otherwise later.
    """

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.passing = passing


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be called, taken apart. `path` begins with a slash and has the query."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What stands in the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def parse(url: str, *, loopback: bool) -> Target:
    """Return the parts of a URL. Raises AddressRefused when no webhook may lead there.

    `loopback`: whether this very machine is allowed, by plain HTTP too: for the local stage.
    """
    if len(url) > _MAX_URL or not url.isascii() or any(sign <= " " or sign == "\\" for sign in url):
        _refuse("The URL must be at most 2000 visible ASCII characters.")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        _refuse("The URL cannot be read.")
    here = loopback and is_loopback(host)
    if parts.scheme != "https" and not (here and parts.scheme == "http"):
        _refuse("The URL must begin with https://.")
    if "@" in parts.netloc:
        _refuse("The URL must hold no user name and no password.")
    if not host:
        _refuse("The URL must name a host.")
    if parts.fragment:
        _refuse("The URL must have no fragment.")
    secure = parts.scheme == "https"
    port = port if port is not None else (443 if secure else 80)
    if port != 443 and port < _LOWEST_FREE_PORT:  # noqa: PLR2004 - the port of HTTPS
        _refuse("The port must be 443, or 1024 and above.")
    if not here:
        _check_name(host)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(secure=secure, host=host, port=port, path=path)


def addresses(target: Target, resolve: Resolver, *, loopback: bool) -> list[str]:
    """Return the addresses of a target, IPv4 first, since functions often have no IPv6.

    Raises AddressRefused unless every one of them is public.
    """
    try:
        found = resolve(target.host, target.port)
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise AddressRefused("The name of the host cannot be resolved.", passing=True)
    here = loopback and is_loopback(target.host)
    for address in found:
        if not (is_public(address) or (here and is_loopback(address))):
            _refuse("The host has an address that is not public.")
    return sorted(dict.fromkeys(found), key=lambda address: ":" in address)


def system_resolver(host: str, port: int) -> list[str]:
    """Ask the system's resolver, which knows no time limit of ours: at most some seconds."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def is_public(address: str) -> bool:
    """Tell whether an address is global unicast, with no other address wrapped inside it."""
    known = _address(address)
    if known is None or any(known in network for network in _TUNNELS if _same(known, network)):
        return False
    if isinstance(known, IPv6Address) and known not in _GLOBAL_V6:
        return False
    return known.is_global and not (known.is_multicast or known.is_reserved)


def is_loopback(host: str) -> bool:
    """Tell whether a host is this very machine, by its plain address or as `localhost`."""
    known = _address(host)
    return host == "localhost" if known is None else known.is_loopback


def _check_name(host: str) -> None:
    known = _address(host)
    if known is not None:
        if not is_public(host):
            _refuse("The host has an address that is not public.")
    elif not _NAME.fullmatch(host) or host.endswith(_INSIDE):
        _refuse("The host must have a public name.")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _same(address: IPv4Address | IPv6Address, network: IPv4Network | IPv6Network) -> bool:
    return address.version == network.version


def _refuse(reason: str) -> NoReturn:
    raise AddressRefused(reason)
