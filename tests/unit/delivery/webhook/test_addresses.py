"""Whom a webhook may be: its address and its certificate."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from chalicelib.domain import Outcome
from tests.fakes.receiver import receiving
from tests.unit.delivery.webhook.conftest import DELIVERED, PUBLIC, Internet

if TYPE_CHECKING:
    import trustme


def test_the_connection_goes_to_the_address_that_was_checked(internet: Internet) -> None:
    """DNS that answers differently the second time is never asked a second time."""
    internet.names["hooks.example"] = [[PUBLIC], ["127.0.0.1"]]
    assert internet.tell() == DELIVERED
    assert internet.asked == ["hooks.example"]
    assert internet.connected == [(PUBLIC, 443)]
    assert internet.tell().verdict == "never"  # asked anew for the next event, and refused
    assert internet.connected == [(PUBLIC, 443)]


@pytest.mark.parametrize(
    "private",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:10.0.0.1", "fd00:ec2::254"],
)
def test_a_private_address_is_never_connected_to(internet: Internet, private: str) -> None:
    for found in ([private], [PUBLIC, private], [private, PUBLIC]):
        internet.names["hooks.example"] = [found]
        outcome = internet.tell()
        assert (outcome.verdict, internet.connected) == ("never", [])


def test_a_bad_url_is_not_even_resolved(internet: Internet) -> None:
    for url in ("http://hooks.example/", "https://169.254.169.254/", "https://u:p@hooks.example/"):
        assert internet.tell(url).verdict == "never"
    assert internet.asked == []


def test_a_name_without_an_address_may_get_one(internet: Internet) -> None:
    internet.names["hooks.example"] = [[]]
    outcome = internet.tell()
    assert (outcome.verdict, internet.connected) == ("later", [])


def test_of_several_addresses_the_first_that_answers_is_used(internet: Internet) -> None:
    internet.names["hooks.example"] = [["2606:4700::1", "1.1.1.1", PUBLIC]]
    internet.unreachable = {"1.1.1.1"}
    assert internet.tell() == DELIVERED
    assert internet.connected == [("1.1.1.1", 443), (PUBLIC, 443)]
    assert len(internet.server.requests) == 1


def test_only_so_many_addresses_are_tried(internet: Internet) -> None:
    found = [f"1.1.1.{number}" for number in range(1, 9)]
    internet.names["hooks.example"] = [found]
    internet.unreachable = set(found)
    outcome = internet.tell()
    assert outcome == Outcome(verdict="later", reason="The connection to the server failed.")
    assert len(internet.connected) == 3


def test_a_certificate_must_be_of_the_name(internet: Internet) -> None:
    internet.names["other.example"] = [[PUBLIC]]
    outcome = internet.tell("https://other.example/")
    assert outcome.reason == "The server's certificate is not valid for its name."
    assert internet.server.requests == []


def test_a_certificate_of_the_address_alone_will_not_do(internet: Internet) -> None:
    """The server's certificate is of the address it plays, too; the name is what counts."""
    assert internet.tell(f"https://{PUBLIC}/") == DELIVERED
    internet.names["other.example"] = [[PUBLIC]]
    assert internet.tell("https://other.example/").verdict == "later"


def test_an_authority_must_be_known(internet: Internet) -> None:
    outcome = internet.tell(trust=ssl.create_default_context)
    assert outcome.reason == "The server's certificate is not valid for its name."
    assert internet.server.requests == []


def test_a_server_without_tls_gets_nothing(authority: trustme.CA) -> None:
    with receiving() as plain:
        outcome = Internet(plain, authority).tell()
        assert outcome == Outcome(
            verdict="later", reason="The server and we could not agree on TLS."
        )
        assert plain.requests == []
