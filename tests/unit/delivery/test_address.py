"""No webhook leads to a private address: by no spelling, no name, no second answer of DNS."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.delivery.address import AddressRefused, Target, addresses, is_public, parse

PUBLIC_V4, PUBLIC_V6 = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
# The special-purpose registries of IANA (RFC 6890 and its successors).
PRIVATE_V4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/29",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
]
PRIVATE_V6 = [
    "::/128",
    "::1/128",
    "::ffff:0:0/96",
    "::/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/32",
    "2001:db8::/32",
    "2002::/16",
    "fc00::/7",
    "fd00:ec2::254/128",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]
private_v4 = st.sampled_from(PRIVATE_V4).flatmap(
    lambda text: st.ip_addresses(network=ip_network(text))
)
private_v6 = st.sampled_from(PRIVATE_V6).flatmap(
    lambda text: st.ip_addresses(network=ip_network(text))
)
any_v4 = st.ip_addresses(v=4)


@given(private_v4 | private_v6)
def test_no_private_address_is_public(address: IPv4Address | IPv6Address) -> None:
    assert not is_public(str(address))


@given(st.ip_addresses())
def test_what_python_calls_special_is_not_public(address: IPv4Address | IPv6Address) -> None:
    special = (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )
    assert not (special and is_public(str(address)))


@given(any_v4)
def test_no_ipv4_address_hides_in_an_ipv6_one(address: IPv4Address) -> None:
    """Not even a public one: mapped, compatible, NAT64, 6to4 and Teredo are all refused."""
    number = int(address)
    for wrapped in (
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address(number),
        IPv6Address(int(IPv6Address("64:ff9b::")) | number),
        IPv6Address(0x2002 << 112 | number << 80),
        IPv6Address(0x20010000 << 96 | (number ^ 0xFFFFFFFF)),
    ):
        assert not is_public(str(wrapped))


@pytest.mark.parametrize("address", [PUBLIC_V4, "1.1.1.1", "8.8.8.8", PUBLIC_V6, "2a00:1450::1"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("text", ["", "example.com", "1.2.3", "0x7f.1", "2130706433", "1.1.1.1 "])
def test_what_is_no_address_is_not_public(text: str) -> None:
    assert not is_public(text)


# --- the URL ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://a.example/x?y=1", Target(secure=True, host="a.example", port=443, path="/x?y=1")),
        ("https://A.Example", Target(secure=True, host="a.example", port=443, path="/")),
        ("https://a.example.:8443/", Target(secure=True, host="a.example", port=8443, path="/")),
        ("https://1.1.1.1/x", Target(secure=True, host="1.1.1.1", port=443, path="/x")),
        (f"https://[{PUBLIC_V6}]/", Target(secure=True, host=PUBLIC_V6, port=443, path="/")),
    ],
)
def test_a_good_url_is_taken_apart(url: str, target: Target) -> None:
    assert parse(url, loopback=False) == target


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://a.example/x", "a.example"),
        ("https://a.example:8443/x", "a.example:8443"),
        (f"https://[{PUBLIC_V6}]/", f"[{PUBLIC_V6}]"),
    ],
)
def test_the_host_header_is_as_the_url_says(url: str, authority: str) -> None:
    assert parse(url, loopback=False).authority == authority


BAD = [
    "http://a.example/",
    "ftp://a.example/",
    "//a.example/",
    "a.example",
    "",
    "https://",
    "https:///x",
    "https://user@a.example/",
    "https://user:word@a.example/",
    "https://@a.example/",
    "https://a.example/#part",
    "https://a.example:22/",
    "https://a.example:80/",
    "https://a.example:0/",
    "https://a.example:65536/",
    "https://a.example:x/",
    "https://a.example/a b",
    "https://a.example/a\r\nX-Evil: 1",
    "https://a.example\\@b.example/",
    "https://ä.example/",
    "https://a%2eexample/",
    "https://intranet/",
    "https://localhost/",
    "https://localhost:8443/",
    "https://a.localhost/",
    "https://printer.local/",
    "https://metadata.google.internal/",
    "https://instance-data.ec2.internal/",
    "https://169.254.169.254/latest/meta-data/",
    "https://127.0.0.1/",
    "https://10.0.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1%25eth0]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[::1",
    "https://a.example/" + "x" * 2000,
]


@pytest.mark.parametrize("url", BAD)
def test_a_bad_url_is_refused_for_good(url: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        parse(url, loopback=False)
    assert not refused.value.passing
    assert len(refused.value.reason) <= 200


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/x", "http://localhost:8080/x", "https://[::1]:8080/x"]
)
def test_only_where_it_is_allowed_this_machine_may_be_called(url: str) -> None:
    assert parse(url, loopback=True).path == "/x"
    with pytest.raises(AddressRefused):
        parse(url, loopback=False)


@pytest.mark.parametrize(
    "url", ["http://a.example/", "http://10.0.0.1:8080/", "https://10.0.0.1/", "http://127.0.0.1/"]
)
def test_the_permission_for_this_machine_opens_nothing_else(url: str) -> None:
    with pytest.raises(AddressRefused):
        parse(url, loopback=True)


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_whatever_the_url_it_is_refused_or_whole(text: str) -> None:
    for url in (text, f"https://{text}", f"https://a.example/{text}"):
        try:
            target = parse(url, loopback=False)
        except AddressRefused:
            continue
        assert target.secure
        assert target.path.startswith("/")
        assert target.path.isascii()
        assert not any(sign.isspace() for sign in target.path + target.authority)


# --- the name ---------------------------------------------------------------------------

TARGET = Target(secure=True, host="a.example", port=443, path="/")


@given(private_v4 | private_v6, st.integers(0, 2))
def test_one_private_address_among_public_ones_spoils_all(
    private: IPv4Address | IPv6Address, place: int
) -> None:
    found = [PUBLIC_V4, PUBLIC_V6]
    found.insert(place, str(private))
    with pytest.raises(AddressRefused) as refused:
        addresses(TARGET, lambda _host, _port: found, loopback=False)
    assert not refused.value.passing
    assert str(private) not in refused.value.reason


def test_ipv4_comes_first_and_each_address_once() -> None:
    found = [PUBLIC_V6, PUBLIC_V4, PUBLIC_V6, "1.1.1.1"]
    reachable = addresses(TARGET, lambda _host, _port: found, loopback=False)
    assert reachable == [PUBLIC_V4, "1.1.1.1", PUBLIC_V6]


def test_a_public_name_may_not_lead_to_this_machine_even_where_that_is_allowed() -> None:
    with pytest.raises(AddressRefused):
        addresses(TARGET, lambda _host, _port: ["127.0.0.1"], loopback=True)


@pytest.mark.parametrize("error", [OSError("no such name"), UnicodeError("label too long"), None])
def test_a_name_that_cannot_be_resolved_may_be_so_later(error: Exception | None) -> None:
    def resolve(_host: str, _port: int) -> list[str]:
        if error is not None:
            raise error
        return []

    with pytest.raises(AddressRefused) as refused:
        addresses(TARGET, resolve, loopback=False)
    assert refused.value.passing
