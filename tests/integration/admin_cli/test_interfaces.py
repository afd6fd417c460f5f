"""Network interfaces that Lambda leaves are waited for; roles go after them, over moto."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from admin_cli.console import CliError
from admin_cli.deploying.interfaces import WAIT_SECONDS, Interfaces


@pytest.fixture
def ec2(account: None) -> Any:
    del account
    return boto3.client("ec2")


@pytest.fixture
def left(ec2: Any) -> tuple[str, list[str]]:
    """The functions' group with two interfaces in it, and one in another group, as EFS has it."""
    network = ec2.create_vpc(CidrBlock="10.0.0.0/24")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=network, CidrBlock="10.0.0.0/25")["Subnet"]["SubnetId"]
    groups = [
        ec2.create_security_group(VpcId=network, GroupName=name, Description=name)["GroupId"]
        for name in ("functions", "files")
    ]
    made = [
        ec2.create_network_interface(SubnetId=subnet, Groups=[group])["NetworkInterface"]
        for group in (groups[0], groups[0], groups[1])
    ]
    return groups[0], [one["NetworkInterfaceId"] for one in made[:2]]


def test_they_are_waited_for_with_progress(ec2: Any, left: tuple[str, list[str]]) -> None:
    group, ids = left
    told: list[str] = []
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) % 3 == 0:  # Lambda takes one away
            ec2.delete_network_interface(NetworkInterfaceId=ids.pop())

    Interfaces(ec2, group, pause).await_removal(told.append)
    assert ids == []
    assert len(pauses) == 6
    assert [line.split()[5] for line in told] == ["2", "1"]


def test_the_wait_ends_and_says_what_to_do(ec2: Any, left: tuple[str, list[str]]) -> None:
    group, _ = left
    pauses: list[float] = []
    told: list[str] = []
    with pytest.raises(CliError, match=r"roles are kept for it: run it again later"):
        Interfaces(ec2, group, pauses.append).await_removal(told.append)
    assert sum(pauses) == WAIT_SECONDS
    assert len(told) == 1


@pytest.mark.usefixtures("left")
def test_without_a_network_there_is_nothing_to_wait_for(ec2: Any) -> None:
    Interfaces(ec2, "", lambda _: pytest.fail("a pause")).await_removal(pytest.fail)
